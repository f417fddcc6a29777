"""The rules of accounts: everything about them that is not money."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import (
    CreateAccount,
    DeleteAccount,
    UpdateAccount,
)
from ledger_server.domain.errors import AccountNotEmpty, Violation
from ledger_server.domain.inputs import Ref, either, patched
from ledger_server.domain.ledgers import currency_exponent
from ledger_server.domain.model import (
    Account,
    AccountStatus,
    AccountVersion,
    EventKind,
    MemberChange,
    TransactionStatus,
)
from ledger_server.domain.money import BalanceKind, Counters, Operator, amounts
from ledger_server.domain.refusals import (
    find_accounts,
    find_categories,
    refuse_deleted,
    refuse_other_currency,
    refuse_taken,
)


def create_account(book: Book, command: CreateAccount, time: datetime) -> Effect:
    exponent = currency_exponent(book, command.currency, command.currency_exponent)
    categories = find_categories(book, [Ref(category_id, None) for category_id in command.category_ids])
    refuse_other_currency(categories, command.currency)
    if command.external_id is not None:
        refuse_taken(book, book.account_ids, command.external_id)
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
        limits=command.limits,
    )
    version = AccountVersion(account, 0, Counters(), book.position + 1)
    return Effect(
        command,
        EventKind.ACCOUNT_CREATED,
        book.position + 1,
        time,
        account=version,
        member_changes=[MemberChange(category_id, account.id, None, True) for category_id in command.category_ids],
        joined_or_left=sorted(book.climb(command.category_ids)) if command.category_ids else (),
    )


def update_account(book: Book, command: UpdateAccount, time: datetime) -> Effect:
    (version,) = find_accounts(book, [command.account])
    old = version.account
    refuse_deleted(old)
    metadata = patched(old.metadata, command.metadata)
    if command.status == AccountStatus.CLOSED:
        refuse_not_empty(book, version, "closed")
    if command.external_id:
        refuse_taken(book, book.account_ids, command.external_id, but=old.id)
    account = replace(
        old,
        name=either(command.name, old.name),
        description=either(command.description, old.description),
        external_id=old.external_id if command.external_id is None else command.external_id or None,
        metadata=metadata,
        status=either(command.status, old.status),
        limits=either(command.limits, old.limits),
        updated_at=time,
    )
    return Effect(
        command,
        EventKind.ACCOUNT_UPDATED,
        book.position + 1,
        time,
        account=replace(version, account=account),
        account_before=version,
        under=book.above(old.id),
    )


def delete_account(book: Book, command: DeleteAccount, time: datetime) -> Effect:
    (version,) = find_accounts(book, [command.account])
    refuse_deleted(version.account)
    refuse_not_empty(book, version, "deleted")
    account = replace(version.account, status=AccountStatus.CLOSED, deleted_at=time, updated_at=time)
    return Effect(
        command,
        EventKind.ACCOUNT_DELETED,
        book.position + 1,
        time,
        account=replace(version, account=account),
        account_before=version,
        under=book.above(account.id),
    )


def is_empty(version: AccountVersion) -> bool:
    """Whether its posted amount is zero and nothing is pending on it."""
    posted_debits, posted_credits, pending_debits, pending_credits = version.counters
    return posted_debits == posted_credits and not (pending_debits or pending_credits)


def refuse_not_empty(book: Book, version: AccountVersion, verb: str) -> None:
    """Pending amounts of 0 do not show in the counters; the transactions that have them are in the book."""
    is_pending = any(
        transaction.status == TransactionStatus.PENDING
        and any(entry.after.account.id == version.account.id for entry in transaction.entry_set.entries)
        for transaction in book.transactions.values()
    )
    if is_pending or not is_empty(version):
        raise AccountNotEmpty(
            f"only an account with a posted amount of zero and nothing pending can be {verb}",
            metadata={"account_id": version.account.id},
            violations=_what_it_has(version, is_pending),
        )


def _what_it_has(version: AccountVersion, is_pending: bool) -> list[Violation]:
    """What is posted on the account, and what is pending, which may be entries of 0."""
    account, counters = version.account, version.counters
    posted, pending, _ = amounts(account.normal_balance, counters)
    violation = partial(
        Violation,
        f"accounts/{account.id}",
        rule="NOT_EMPTY",
        account_id=account.id,
        lock_version=version.lock_version,
        retryable=True,
    )
    violations = []
    if posted:
        violations.append(
            violation(
                f"posted is {posted}, demanded = 0",
                balance=BalanceKind.POSTED,
                operator=Operator.EQ,
                seen=str(posted),
                demanded="0",
                shortfall=str(abs(posted)),
            )
        )
    if is_pending or counters.pending_debits or counters.pending_credits:
        said = (
            f"debits of {counters.pending_debits} and credits of {counters.pending_credits} are pending, demanded none"
        )
        violations.append(violation(said, balance=BalanceKind.PENDING, seen=str(pending)))
    return violations
