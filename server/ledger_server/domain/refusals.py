"""Why a command may be refused, in the order of precedence: not found, balance, state, version, external id,
lock_version, account status, period; then limits and conditions, see conditions.py. Each function looks at one kind and
reports all it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger_server.domain.book import Book
from ledger_server.domain.commands import Command, CreateTransaction, PostTransaction, UpdateTransaction
from ledger_server.domain.errors import (
    AccountDeleted,
    AccountNotFound,
    AccountNotOpen,
    CategoryCurrencyMismatch,
    CategoryNotFound,
    EntryNotFound,
    ExternalIdTaken,
    LedgerNotFound,
    LockVersionMismatch,
    PeriodClosed,
    ReversalEntriesFixed,
    TransactionExpired,
    TransactionNotFound,
    TransactionNotPending,
    TransactionNotPosted,
    Unbalanced,
    VersionMismatch,
    Violation,
)
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.inputs import BalanceCondition, CategoryCondition, Ref
from ledger_server.domain.model import (
    Account,
    AccountStatus,
    AccountVersion,
    CategoryVersion,
    Monitor,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import Operator
from ledger_server.domain.moves import Line

# Commands that may say which entries are to be written.
_WITH_ENTRIES = (CreateTransaction, UpdateTransaction, PostTransaction)


class Demand(NamedTuple):
    """What a command demands of an account; `before` is the account before the command."""

    before: AccountVersion
    lock_version: int | None
    conditions: tuple[BalanceCondition, ...]


def find_accounts(book: Book, refs: Sequence[Ref]) -> list[AccountVersion]:
    accounts = [book.find_account(ref) for ref in refs]
    if None in accounts:
        raise accounts_not_found([ref for ref, account in zip(refs, accounts, strict=True) if account is None])
    return accounts  # type: ignore[return-value]


def accounts_not_found(refs: Sequence[Ref]) -> AccountNotFound:
    names = [next(iter(ref.describe("account").items())) for ref in dict.fromkeys(refs)]
    return AccountNotFound(
        f"no such account in this ledger: {', '.join(value for _, value in names[:5])}",
        metadata=dict(names[:1]),
        violations=[Violation(value, f"no account of the ledger has this {key}", "NOT_FOUND") for key, value in names],
    )


def find_categories(book: Book, refs: Sequence[Ref], noun: str = "category") -> list[CategoryVersion]:
    categories = [book.find_category(ref) for ref in refs]
    if None in categories:
        raise categories_not_found([ref for ref, c in zip(refs, categories, strict=True) if c is None], noun)
    return categories  # type: ignore[return-value]


def find_condition_categories(book: Book, conditions: Sequence[CategoryCondition]) -> None:
    """Refuses conditions on categories that are not there."""
    if conditions:
        find_categories(book, [condition.category for condition in conditions])


def categories_not_found(refs: Sequence[Ref], noun: str = "category") -> CategoryNotFound:
    names = [next(iter(ref.describe(noun).items())) for ref in dict.fromkeys(refs)]
    return CategoryNotFound(
        f"no such category in this ledger: {', '.join(value for _, value in names[:5])}",
        metadata=dict(names[:1]),
        violations=[Violation(value, f"no category of the ledger has this {key}", "NOT_FOUND") for key, value in names],
    )


def refuse_other_currency(versions: Sequence[CategoryVersion], currency: str) -> None:
    """Of the categories that something of this currency is to be put into."""
    others = [version.category for version in versions if version.category.currency != currency]
    if others:
        first = others[0]
        raise CategoryCurrencyMismatch(
            f"category {first.id} is of {first.currency} and holds nothing of {currency}",
            metadata={"category_id": first.id, "currency": first.currency},
            violations=[
                Violation(
                    f"categories/{one.id}", f"is of {one.currency}, demanded {currency}", "CURRENCY", category_id=one.id
                )
                for one in others
            ],
        )


def entry_not_found(entry_id: str) -> EntryNotFound:
    return EntryNotFound(
        f"no such entry in this ledger: {entry_id}",
        metadata={"entry_id": entry_id},
        violations=[Violation(entry_id, "no entry of the ledger has this entry_id", "NOT_FOUND")],
    )


def refuse_deleted(account: Account, violations: Sequence[Violation] = ()) -> None:
    """The account; `violations` are of all accounts whose status is wrong, if there may be others."""
    if account.deleted_at is not None:
        raise AccountDeleted(
            f"account {account.id} is deleted, for good",
            metadata={"account_id": account.id},
            violations=violations or [_status_violation(account)],
        )


def ledger_not_found(ledger_id: int) -> LedgerNotFound:
    return no_such_ledger(ledger_text(ledger_id))


def no_such_ledger(text: str) -> LedgerNotFound:
    """Of an id as its caller knows it, which may be none that a ledger can have."""
    return LedgerNotFound(f"no such ledger: {text}", metadata={"ledger_id": text})


def find_transaction(book: Book, ref: Ref) -> Transaction:
    transaction = book.find_transaction(ref)
    if transaction is None:
        raise transaction_not_found(ref)
    return transaction


def transaction_not_found(ref: Ref) -> TransactionNotFound:
    metadata = ref.describe("transaction")
    return TransactionNotFound(
        f"no such transaction in this ledger: {next(iter(metadata.values()))}", metadata=metadata
    )


def refuse_unequal_sides(command: Command) -> None:
    """What needs no look at the accounts: both sides are there, and they balance over all currencies together.

    These are not known yet, so an error in one of them is told with the sums of all.
    """
    if not isinstance(command, _WITH_ENTRIES) or not command.entries:
        return
    sums = [0, 0]
    directions = set()
    for _, direction, amount, _, _, _ in command.entries:
        directions.add(direction)
        sums[direction - 1] += amount
    debits, credits = sums
    if debits == credits and len(directions) == 2:
        return
    problem = "at least one debit and one credit are needed"
    if len(directions) == 2:
        problem = f"debits and credits differ, over all currencies together: {debits} and {credits}"
    raise _unbalanced([problem], {"debits": str(debits), "credits": str(credits)})


def refuse_unbalanced(book: Book, lines: Iterable[Line]) -> None:
    """Debits must equal credits in every currency."""
    accounts = book.accounts
    sums: dict[str, list[int]] = {}
    for account_id, direction, amount, _, _ in lines:
        sums.setdefault(accounts[account_id].account.currency, [0, 0])[direction - 1] += amount
    unequal = [(currency, debits, credits) for currency, (debits, credits) in sums.items() if debits != credits]
    if unequal:
        currency, debits, credits = unequal[0]
        raise _unbalanced(
            [
                f"debits and credits differ in {currency}: {debits} and {credits}"
                for currency, debits, credits in unequal
            ],
            {"currency": currency, "debits": str(debits), "credits": str(credits)},
        )


def _unbalanced(problems: Sequence[str], metadata: Mapping[str, str]) -> Unbalanced:
    violations = [Violation("entries", problem) for problem in problems]
    return Unbalanced(f"entries: {problems[0]}", metadata=metadata, violations=violations)


def refuse_unless_pending(transaction: Transaction, verb: str) -> None:
    _refuse_unless(TransactionStatus.PENDING, transaction, verb, TransactionNotPending)


def refuse_unless_posted(transaction: Transaction, verb: str) -> None:
    _refuse_unless(TransactionStatus.POSTED, transaction, verb, TransactionNotPosted)


def _refuse_unless(
    demanded: TransactionStatus,
    transaction: Transaction,
    verb: str,
    error: type[TransactionNotPending | TransactionNotPosted],
) -> None:
    if transaction.status == demanded:
        return
    is_now, should_be = transaction.status.name.lower(), demanded.name.lower()
    raise error(
        f"the transaction is {is_now}; only a {should_be} one can be {verb}",
        metadata={"transaction_id": transaction.id, "status": transaction.status.name},
        violations=[Violation(f"transactions/{transaction.id}", f"is {is_now}, demanded {should_be}", "STATE")],
    )


def refuse_expired(expires_at: datetime | None, time: datetime, transaction_id: str | None = None) -> None:
    """Of a transaction that is there already, with its id."""
    if expires_at is not None and expires_at <= time:
        named = {} if transaction_id is None else {"transaction_id": transaction_id}
        raise TransactionExpired(
            f"the transaction expires at {expires_at.isoformat()}, which has passed",
            metadata={**named, "expires_at": expires_at.isoformat()},
            violations=[Violation("expires_at", f"is {expires_at.isoformat()}, which has passed", "EXPIRY")],
        )


def refuse_new_entries_of_reversal(transaction: Transaction) -> None:
    if transaction.reverses_id is not None:
        raise ReversalEntriesFixed(
            "the entries of a pending reversal are fixed: post it as it is, or archive it",
            metadata={"transaction_id": transaction.id, "reverses_transaction_id": transaction.reverses_id},
            violations=[Violation("entries", "are fixed in a pending reversal", "STATE")],
        )


def refuse_edit(transaction: Transaction, changed: Sequence[str], time: datetime) -> None:
    """A pending transaction may change in everything, a posted one in metadata and external_id, others in metadata.

    One that has expired is as if it were archived, which it is within a second.
    """
    editable = {"metadata", "external_id"} if transaction.status == TransactionStatus.POSTED else {"metadata"}
    fixed = [name for name in changed if name not in editable]
    if not fixed:
        return
    if transaction.status == TransactionStatus.PENDING:
        refuse_expired(transaction.expires_at, time, transaction.id)
        return
    state = transaction.status.name.lower()
    raise TransactionNotPending(
        f"the transaction is {state}; {', '.join(fixed)} can no longer change",
        metadata={"transaction_id": transaction.id, "status": transaction.status.name},
        violations=[Violation(name, f"is fixed once the transaction is {state}", "STATE") for name in fixed],
    )


def refuse_version(named: Transaction | Monitor, version: int | None) -> None:
    if version is not None and version != named.version:
        noun = "transaction" if isinstance(named, Transaction) else "monitor"
        violation = Violation(
            f"{noun}s/{named.id}",
            f"version is {named.version}, demanded {version}; read the {noun} and decide again",
            "VERSION",
            operator=Operator.EQ,
            seen=str(named.version),
            demanded=str(version),
            retryable=True,
        )
        raise VersionMismatch(
            f"the {noun} is at version {named.version}, not {version}",
            metadata={f"{noun}_id": named.id, "version": str(named.version)},
            violations=[violation],
        )


def refuse_taken(book: Book, holders: Mapping[str, str], external_id: str, but: str | None = None) -> None:
    """An id that an earlier command took, and that is taken back with this one, is held by nobody whom callers find."""
    holder = holders.get(external_id)
    if holder is None or holder == but:
        return
    if holder != book.value_to_stay(holders, external_id):
        raise ExternalIdTaken(
            "the external_id is held by an earlier command of this batch", metadata={"external_id": external_id}
        )
    raise ExternalIdTaken(
        f"the external_id is held by {holder}", metadata={"external_id": external_id, "held_by": holder}
    )


def refuse_lock_versions(demands: Sequence[Demand]) -> None:
    violations = [
        Violation(
            f"accounts/{before.account.id}",
            f"lock_version is {before.lock_version}, demanded {lock_version}; read the account and decide again",
            "LOCK_VERSION",
            account_id=before.account.id,
            operator=Operator.EQ,
            seen=str(before.lock_version),
            demanded=str(lock_version),
            lock_version=before.lock_version,
            retryable=True,
        )
        for before, lock_version, _ in demands
        if lock_version is not None and lock_version != before.lock_version
    ]
    if violations:
        raise LockVersionMismatch(
            f"{violations[0].subject}: {violations[0].description}",
            metadata={"account_id": violations[0].account_id},
            violations=violations,
        )


def refuse_account_status(book: Book, lines: Iterable[Line]) -> None:
    """Frozen, closed and deleted accounts take no entries; `lines` are those to be written."""
    closed = {
        account.id: account
        for account_id, direction, _, _, _ in lines
        if (account := book.accounts[account_id].account).status != AccountStatus.OPEN
        and not account.status.takes(direction)
    }
    if not closed:
        return
    violations = [_status_violation(account) for account in closed.values()]
    # One that is deleted is the reason before the others are, for nothing opens it again.
    for account in closed.values():
        refuse_deleted(account, violations)
    first = next(iter(closed.values()))
    raise AccountNotOpen(
        f"account {first.id} is {_status_words(first)}",
        metadata={"account_id": first.id, "status": first.status.name},
        violations=violations,
    )


def refuse_closed_period(book: Book, effective_at: datetime) -> None:
    closed_before = book.ledger.closed_before
    if closed_before is not None and effective_at < closed_before:
        raise PeriodClosed(
            f"the books are closed before {closed_before.isoformat()}",
            metadata={"earliest_effective_at": closed_before.isoformat(), "effective_at": effective_at.isoformat()},
            violations=[
                Violation(
                    "effective_at",
                    f"is {effective_at.isoformat()}, demanded ≥ {closed_before.isoformat()}",
                    "PERIOD",
                )
            ],
        )


def _status_violation(account: Account) -> Violation:
    return Violation(f"accounts/{account.id}", f"is {_status_words(account)}", "ACCOUNT_STATUS", account_id=account.id)


def _status_words(account: Account) -> str:
    return "deleted" if account.deleted_at else account.status.name.lower().replace("_", " ")
