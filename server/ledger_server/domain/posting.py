"""The rules: what each command does to a book, or why it is refused.

`decide` is pure: refusals above, effects below, and nothing changes until the effect is applied. Refusals come in
one order: not found, state, version, external_id, lock_version, conditions; all failures of the first
failing kind are reported together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeVar

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import (
    ArchiveTransaction,
    BalanceCondition,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    EntryInput,
    PostTransaction,
    Ref,
    UpdateAccount,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.errors import (
    AccountNotFound,
    ConditionFailed,
    ExternalIdTaken,
    InvalidField,
    LockVersionMismatch,
    TransactionNotFound,
    TransactionNotPending,
    Unbalanced,
    VersionMismatch,
    Violation,
)
from ledger_server.domain.model import (
    Account,
    AccountVersion,
    ArchivedReason,
    BalanceChange,
    Entry,
    EntrySet,
    EventKind,
    Ledger,
    Metadata,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import ISO_4217, OPERATOR_SYMBOLS, Counters, Direction, balance

PENDING, POSTED, ARCHIVED = TransactionStatus.PENDING, TransactionStatus.POSTED, TransactionStatus.ARCHIVED


def decide(book: Book, command: Command, time: datetime) -> Effect:
    """What the command does to the book as it stands, at the position after the book's; or a LedgerError."""
    match command:
        case CreateTransaction():
            return _create_transaction(book, command, time)
        case PostTransaction():
            return _post_transaction(book, command, time)
        case UpdateTransaction():
            return _update_transaction(book, command, time)
        case ArchiveTransaction():
            return _archive_transaction(book, command, time)
        case CreateAccount():
            return _create_account(book, command, time)
        case UpdateAccount():
            return _update_account(book, command, time)
        case CreateLedger():
            return _create_ledger(book, command, time)
        case UpdateLedger():
            return _update_ledger(book, command, time)
    raise TypeError(command)


# Ledgers and accounts.


def _create_ledger(book: Book, command: CreateLedger, time: datetime) -> Effect:
    ledger = Ledger(command.new_ledger_id, command.name, command.description, command.metadata, time, time)
    return Effect(command, EventKind.LEDGER_CREATED, book.position + 1, time, ledger=ledger)


def _update_ledger(book: Book, command: UpdateLedger, time: datetime) -> Effect:
    ledger = replace(
        book.ledger,
        name=_or(command.name, book.ledger.name),
        description=_or(command.description, book.ledger.description),
        metadata=command.metadata.apply(book.ledger.metadata) if command.metadata else book.ledger.metadata,
        updated_at=time,
    )
    return Effect(command, EventKind.LEDGER_UPDATED, book.position + 1, time, ledger=ledger)


def _create_account(book: Book, command: CreateAccount, time: datetime) -> Effect:
    exponent = _currency_exponent(book, command.currency, command.currency_exponent)
    if command.external_id is not None:
        _refuse_taken(command.external_id, book.account_ids.get(command.external_id))
    account = Account(
        id=command.account_id,
        ledger_id=command.ledger_id,
        name=command.name,
        description=command.description,
        normal_balance=command.normal_balance,
        currency=command.currency,
        currency_exponent=exponent,
        external_id=command.external_id,
        metadata=command.metadata,
        created_position=book.position + 1,
        created_at=time,
        updated_at=time,
    )
    version = AccountVersion(account, 0, Counters(), book.position + 1)
    return Effect(command, EventKind.ACCOUNT_CREATED, book.position + 1, time, account=version)


def _update_account(book: Book, command: UpdateAccount, time: datetime) -> Effect:
    version = book.find_account(command.account)
    if version is None:
        raise _accounts_not_found([command.account])
    if command.external_id:
        _refuse_taken(command.external_id, book.account_ids.get(command.external_id), but=version.account.id)
    account = replace(
        version.account,
        name=_or(command.name, version.account.name),
        description=_or(command.description, version.account.description),
        external_id=version.account.external_id if command.external_id is None else command.external_id or None,
        metadata=command.metadata.apply(version.account.metadata) if command.metadata else version.account.metadata,
        updated_at=time,
    )
    return Effect(
        command, EventKind.ACCOUNT_UPDATED, book.position + 1, time, account=version._replace(account=account)
    )


def _currency_exponent(book: Book, currency: str, asked: int | None) -> int:
    fixed = ISO_4217.get(currency, book.currencies.get(currency))
    if fixed is None and asked is None:
        problem = f"is required for the ledger's first account of {currency}, which is not an ISO 4217 code"
        raise InvalidField.of([Violation("currency_exponent", problem)])
    if fixed is not None and asked is not None and asked != fixed:
        by = "ISO 4217" if currency in ISO_4217 else "the ledger's first account of it"
        raise InvalidField.of([Violation("currency_exponent", f"of {currency} is {fixed} by {by}, not {asked}")])
    return fixed if fixed is not None else asked  # type: ignore[return-value]


# Transactions.


class _Line(NamedTuple):
    """An entry to be written or discarded."""

    account_id: str
    direction: Direction
    amount: int
    metadata: Metadata | None


class _Demand(NamedTuple):
    """What a command demands of an account; `before` is the account before the command."""

    before: AccountVersion
    lock_version: int | None
    conditions: tuple[BalanceCondition, ...]


def _create_transaction(book: Book, command: CreateTransaction, time: datetime) -> Effect:
    accounts = _find_accounts(book, [entry.account for entry in command.entries])
    _refuse_unbalanced(command.entries, accounts)
    if command.external_id is not None:
        _refuse_taken(command.external_id, book.transaction_ids.get(command.external_id))
    demands = _demands(command.entries, accounts)
    _refuse_lock_versions(demands)
    status, reason = command.status, ArchivedReason.NOT_ARCHIVED
    lines = _lines(command.entries, accounts)
    after = _moved(book, (), lines, status)
    try:
        _refuse_conditions(demands, after)
    except ConditionFailed:
        if not command.archive_on_condition_failure:
            raise
        status, reason, after = ARCHIVED, ArchivedReason.CONDITION_FAILED, {}
    position = book.position + 1
    effective_at = command.effective_at or time
    transaction = Transaction(
        command.transaction_id,
        command.ledger_id,
        0,
        status,
        reason,
        command.description,
        command.external_id,
        command.metadata,
        effective_at,
        _entry_set(book, command.first_entry_id, 0, status, effective_at, time, lines, after),
        position,
        position,
        time,
        time,
        time if status == POSTED else None,
    )
    return _effect(book, command, EventKind.TRANSACTION_CREATED, transaction, None, after)


def _update_transaction(book: Book, command: UpdateTransaction, time: datetime) -> Effect:
    old = _find_transaction(book, command.transaction)
    entries = command.entries or ()
    accounts = _find_accounts(book, [entry.account for entry in entries])
    _refuse_unbalanced(entries, accounts)
    _refuse_edit(old, command)
    _refuse_version(old, command.version)
    if command.external_id:
        _refuse_taken(command.external_id, book.transaction_ids.get(command.external_id), but=old.id)
    demands = _demands(entries, accounts)
    _refuse_lock_versions(demands)
    new = old._replace(
        version=old.version + 1,
        description=_or(command.description, old.description),
        effective_at=command.effective_at or old.effective_at,
        external_id=old.external_id if command.external_id is None else command.external_id or None,
        metadata=command.metadata.apply(old.metadata) if command.metadata else old.metadata,
        position=book.position + 1,
        updated_at=time,
    )
    after: dict[str, AccountVersion] = {}
    # An entry carries its effective time, so a new time writes new entries as new amounts do.
    if command.entries is not None or new.effective_at != old.effective_at:
        lines = _lines(entries, accounts) if entries else _standing_lines(old)
        after = _moved(book, _standing_lines(old), lines, new.status)
        _refuse_conditions(demands, after)
        new = _with_entries(book, new, command.first_entry_id, lines, after)
    return _effect(book, command, EventKind.TRANSACTION_UPDATED, new, old, after)


def _post_transaction(book: Book, command: PostTransaction, time: datetime) -> Effect:
    old = _find_transaction(book, command.transaction)
    entries = command.entries or ()
    accounts = _find_accounts(book, [*(e.account for e in entries), *(c.account for c in command.conditions)])
    _refuse_unbalanced(entries, accounts)
    _refuse_unless_pending(old, "posted")
    _refuse_version(old, command.version)
    demands = _demands(entries, accounts) + [
        _Demand(before, condition.lock_version, condition.conditions)
        for before, condition in zip(accounts[len(entries) :], command.conditions, strict=True)
    ]
    _refuse_lock_versions(demands)
    lines = _lines(entries, accounts) if entries else _standing_lines(old)
    after = _moved(book, _standing_lines(old), lines, POSTED)
    _refuse_conditions(demands, after)
    new = old._replace(
        version=old.version + 1,
        status=POSTED,
        effective_at=command.effective_at or old.effective_at,
        metadata=command.metadata.apply(old.metadata) if command.metadata else old.metadata,
        position=book.position + 1,
        updated_at=time,
        posted_at=time,
    )
    new = _with_entries(book, new, command.first_entry_id, lines, after)
    return _effect(book, command, EventKind.TRANSACTION_POSTED, new, old, after)


def _archive_transaction(book: Book, command: ArchiveTransaction, time: datetime) -> Effect:
    old = _find_transaction(book, command.transaction)
    _refuse_unless_pending(old, "archived")
    _refuse_version(old, command.version)
    lines = _standing_lines(old)
    after = _moved(book, lines, lines, ARCHIVED)
    new = old._replace(
        version=old.version + 1,
        status=ARCHIVED,
        archived_reason=ArchivedReason.REQUESTED,
        metadata=command.metadata.apply(old.metadata) if command.metadata else old.metadata,
        position=book.position + 1,
        updated_at=time,
    )
    new = _with_entries(book, new, command.first_entry_id, lines, after)
    return _effect(book, command, EventKind.TRANSACTION_ARCHIVED, new, old, after)


# Refusals, in their order of precedence.


def _find_accounts(book: Book, refs: Sequence[Ref]) -> list[AccountVersion]:
    accounts = [book.find_account(ref) for ref in refs]
    if None in accounts:
        raise _accounts_not_found([ref for ref, account in zip(refs, accounts, strict=True) if account is None])
    return accounts  # type: ignore[return-value]


def _accounts_not_found(refs: Sequence[Ref]) -> AccountNotFound:
    missing = list(dict.fromkeys(refs))
    names = [next(iter(ref.describe("account").items())) for ref in missing]
    return AccountNotFound(
        f"no such account in this ledger: {', '.join(value for _, value in names[:5])}",
        metadata=dict(names[:1]),
        violations=[Violation(value, f"no account of the ledger has this {key}", "NOT_FOUND") for key, value in names],
    )


def _find_transaction(book: Book, ref: Ref) -> Transaction:
    transaction = book.find_transaction(ref)
    if transaction is None:
        metadata = ref.describe("transaction")
        raise TransactionNotFound(
            f"no such transaction in this ledger: {next(iter(metadata.values()))}", metadata=metadata
        )
    return transaction


def _refuse_unbalanced(entries: Sequence[EntryInput], accounts: Sequence[AccountVersion]) -> None:
    sums: dict[str, list[int]] = {}
    for entry, version in zip(entries, accounts, strict=False):
        sums.setdefault(version.account.currency, [0, 0])[entry.direction - 1] += entry.amount
    for currency, (debits, credits) in sums.items():
        if debits != credits:
            raise Unbalanced(
                f"debits and credits differ in {currency}: {debits} and {credits}",
                metadata={"currency": currency, "debits": str(debits), "credits": str(credits)},
            )


def _refuse_unless_pending(transaction: Transaction, verb: str) -> None:
    if transaction.status != PENDING:
        raise TransactionNotPending(
            f"the transaction is {transaction.status.name.lower()}; only a pending one can be {verb}",
            metadata={"transaction_id": transaction.id, "status": transaction.status.name},
        )


def _refuse_edit(transaction: Transaction, command: UpdateTransaction) -> None:
    """A pending transaction may change in everything, a posted one in metadata and external_id, an archived one in metadata."""
    if transaction.status == PENDING:
        return
    fields = {
        "description": command.description,
        "effective_at": command.effective_at,
        "entries": command.entries,
        "external_id": command.external_id if transaction.status == ARCHIVED else None,
    }
    fixed = [name for name, value in fields.items() if value is not None]
    if fixed:
        status = transaction.status.name
        raise TransactionNotPending(
            f"the transaction is {status.lower()}; {', '.join(fixed)} can no longer change",
            metadata={"transaction_id": transaction.id, "status": status},
            violations=[
                Violation(name, f"is fixed once the transaction is {status.lower()}", "STATE") for name in fixed
            ],
        )


def _refuse_version(transaction: Transaction, version: int | None) -> None:
    if version is not None and version != transaction.version:
        raise VersionMismatch(
            f"the transaction is at version {transaction.version}, not {version}",
            metadata={"transaction_id": transaction.id, "version": str(transaction.version)},
        )


def _refuse_taken(external_id: str, holder: str | None, but: str | None = None) -> None:
    if holder is not None and holder != but:
        raise ExternalIdTaken(
            f"the external_id is held by {holder}", metadata={"external_id": external_id, "held_by": holder}
        )


def _refuse_lock_versions(demands: Sequence[_Demand]) -> None:
    violations = [
        Violation(
            f"accounts/{before.account.id}",
            f"lock_version is {before.lock_version}, demanded {lock_version}; read the account and decide again",
            "LOCK_VERSION",
        )
        for before, lock_version, _ in demands
        if lock_version is not None and lock_version != before.lock_version
    ]
    if violations:
        raise LockVersionMismatch(
            f"{violations[0].subject}: {violations[0].description}",
            metadata={"account_id": violations[0].subject.removeprefix("accounts/")},
            violations=violations,
        )


def _refuse_conditions(demands: Sequence[_Demand], after: Mapping[str, AccountVersion]) -> None:
    violations = []
    for before, _, conditions in demands:
        if conditions:
            version = after.get(before.account.id, before)
            violations += [
                failure for c in conditions if (failure := _condition_failure(c, version, before)) is not None
            ]
    if violations:
        raise ConditionFailed(f"{violations[0].subject}: {violations[0].description}", violations=violations)


def _condition_failure(c: BalanceCondition, after: AccountVersion, before: AccountVersion) -> Violation | None:
    seen = balance(c.balance, after.account.normal_balance, after.counters).amount
    if c.operator.holds(seen, c.amount):
        return None
    return Violation(
        f"accounts/{after.account.id}",
        f"{c.balance.name.lower()} would be {seen}, demanded {OPERATOR_SYMBOLS[c.operator]} {c.amount}, "
        f"short by {abs(c.amount - seen)}, at lock_version {before.lock_version}",
        "BALANCE_CONDITION",
    )


# Effects.


def _demands(entries: Sequence[EntryInput], accounts: Sequence[AccountVersion]) -> list[_Demand]:
    return [
        _Demand(account, entry.lock_version, entry.conditions)
        for entry, account in zip(entries, accounts, strict=False)
        if entry.lock_version is not None or entry.conditions
    ]


def _lines(entries: Sequence[EntryInput], accounts: Sequence[AccountVersion]) -> list[_Line]:
    return [
        _Line(version.account.id, entry.direction, entry.amount, entry.metadata)
        for entry, version in zip(entries, accounts, strict=False)
    ]


def _standing_lines(transaction: Transaction) -> list[_Line]:
    return [
        _Line(entry.after.account.id, entry.direction, entry.amount, entry.metadata)
        for entry in transaction.entry_set.entries
    ]


def _moved(
    book: Book, discarded: Sequence[_Line], written: Sequence[_Line], status: TransactionStatus
) -> dict[str, AccountVersion]:
    """The accounts touched, after pending lines are discarded and lines of the status are written.

    Each moves by one lock_version, however many lines touch it. Archived lines count in no balance.
    """
    counters: dict[str, list[int]] = {}
    for account_id, direction, amount, _ in discarded:
        if account_id not in counters:
            counters[account_id] = list(book.accounts[account_id].counters)
        counters[account_id][direction + 1] -= amount
    if status != ARCHIVED:
        offset = 1 if status == PENDING else -1
        for account_id, direction, amount, _ in written:
            if account_id not in counters:
                counters[account_id] = list(book.accounts[account_id].counters)
            counters[account_id][direction + offset] += amount
    position = book.position + 1
    after = {}
    for account_id, moved in counters.items():
        account, lock_version, _, _ = book.accounts[account_id]
        after[account_id] = AccountVersion(account, lock_version + 1, Counters(*moved), position)
    return after


def _with_entries(
    book: Book, new: Transaction, first_entry_id: str, lines: Sequence[_Line], after: Mapping[str, AccountVersion]
) -> Transaction:
    entry_set = _entry_set(
        book, first_entry_id, new.version, new.status, new.effective_at, new.updated_at, lines, after
    )
    return new._replace(entry_set=entry_set)


def _entry_set(
    book: Book,
    first_entry_id: str,
    version: int,
    status: TransactionStatus,
    effective_at: datetime,
    time: datetime,
    lines: Sequence[_Line],
    after: Mapping[str, AccountVersion],
) -> EntrySet:
    # A condition that failed writes archived entries that move no account; they show it as it stands.
    versions = after or book.accounts
    entries = tuple([Entry(versions[line.account_id], line.direction, line.amount, line.metadata) for line in lines])
    return EntrySet(first_entry_id, version, status, effective_at, time, entries)


def _effect(
    book: Book,
    command: Command,
    kind: EventKind,
    transaction: Transaction,
    replaced: Transaction | None,
    after: Mapping[str, AccountVersion],
) -> Effect:
    changes = [BalanceChange(book.accounts[account_id], after[account_id]) for account_id in sorted(after)]
    return Effect(
        command,
        kind,
        transaction.position,
        transaction.updated_at,
        transaction=transaction,
        replaced=replaced,
        wrote_entries=replaced is None or replaced.entry_set is not transaction.entry_set,
        changes=changes,
    )


_T = TypeVar("_T")


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value
