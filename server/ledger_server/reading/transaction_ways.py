"""Ways to the transactions of a list: one for each filter that has an index, and the list's own order."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ledger_server.domain.ids import ENTRIES_MAX
from ledger_server.domain.model import AccountVersion, ArchivedReason, TransactionStatus
from ledger_server.domain.money import AMOUNT_DIGITS_MAX, Operator
from ledger_server.reading.metadata import equal_pairs, ways_of
from ledger_server.reading.queries import AmountCondition, EntryQuery, TransactionQuery
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.ways import (
    MATCHES_MAX,
    Matches,
    Walk,
    Way,
    changed_between,
    created_between,
    found_by,
    metadata_ways,
    numbers_of,
    union,
)
from ledger_server.storage import sql
from ledger_server.storage.rows import Noun

# A transaction has at most so many entries of an amount below 10^36 each.
_AMOUNT_MAX = ENTRIES_MAX * (10**AMOUNT_DIGITS_MAX - 1)


async def ways_to_transactions(
    at: Snapshot, query: TransactionQuery, account: AccountVersion | None, categories: list[str] | None
) -> tuple[Walk, list[Way]]:
    """The walk in the list's own order, and the ways by its filters, those that match few first."""
    is_created_order = query.order.is_created and account is None
    low, high = await created_between(at, sql.find_position_of_transactions_at, query.created_at)
    ways = [
        *_by_name(query),
        *metadata_ways(
            Noun.TRANSACTION,
            [*equal_pairs(query.metadata), *ways_of(query.metadata_terms)],
            is_created_order=is_created_order,
        ),
        *_by_amount(query.amounts),
        *_by_state(query, is_created_order=is_created_order),
    ]
    if categories is not None:
        ways += await _under(at, categories)
    if query.updated_at:
        statement = sql.find_transactions_changed_between
        ways.append(await changed_between(at, statement, sql.find_position_of_transactions_at, query.updated_at))
    if query.posted_at:
        statement = sql.find_transactions_posted_between
        ways.append(await changed_between(at, statement, sql.find_position_of_transactions_at, query.posted_at))
    by_creation = Walk(sql.walk_transactions_by_creation, (low, high))
    if query.created_at:
        in_any_order = found_by(sql.find_transactions_created_between, low, high)
        ways.append(by_creation if is_created_order else in_any_order)
    if not query.order.is_created:
        if account is not None:
            ways.append(found_by(sql.find_transactions_of_account, account.account.id))
        positions = await created_between(at, sql.find_position_of_transactions_at, query.effective_at)
        by_effect = (*query.effective_at.texts(), *positions)
        return Walk(sql.walk_transactions_by_effect, by_effect, by_effective_at=True), ways
    if query.effective_at:
        statement = sql.find_transactions_effective_between
        ways.append(await changed_between(at, statement, sql.find_position_of_transactions_at, query.effective_at))
    return (by_creation if account is None else Walk(sql.walk_transactions_of_account, (account.account.id,))), ways


def _by_name(query: TransactionQuery) -> Iterable[Way]:
    if query.ids:
        yield found_by(sql.find_transactions_by_id, list(query.ids))
    if query.external_id is not None:
        yield found_by(sql.find_transactions_by_external_id, query.external_id)
    if query.reverses_id is not None:
        yield found_by(sql.find_transactions_reversing, query.reverses_id)
    if query.partially_posts_id is not None:
        yield found_by(sql.find_transactions_partially_posting, query.partially_posts_id)


async def _under(at: Snapshot, categories: list[str]) -> list[Way]:
    """By the accounts in these categories, unless these are many."""
    rows = await at.connection.fetch(sql.find_account_ids_in_categories, at.ledger_id, MATCHES_MAX + 1, categories)
    if len(rows) > MATCHES_MAX:
        return []
    return [found_by(sql.find_transactions_of_accounts, sorted({row["account_id"] for row in rows}))]


def _by_state(query: TransactionQuery, *, is_created_order: bool) -> Iterable[Way]:
    """Pending and archived transactions are indexed by their reason; posted ones, the usual, are not."""
    reasons = set(query.archived_reasons) or _reasons_of(query.statuses)
    if len(reasons) == 1 and is_created_order:
        yield Walk(sql.walk_transactions_by_state, (int(*reasons),))
    elif reasons:
        yield found_by(sql.find_transactions_by_state, numbers_of(reasons))


def _reasons_of(statuses: Collection[TransactionStatus]) -> set[ArchivedReason]:
    """By which reasons transactions in these statuses are indexed; none if they are not, or not all."""
    reasons = set()
    if TransactionStatus.POSTED not in statuses:
        if TransactionStatus.PENDING in statuses:
            reasons.add(ArchivedReason.NOT_ARCHIVED)
        if TransactionStatus.ARCHIVED in statuses:
            reasons |= set(ArchivedReason) - {ArchivedReason.NOT_ARCHIVED}
    return reasons


async def ways_to_entries(at: Snapshot, query: EntryQuery) -> list[Way]:
    """Ways to the transactions that may have such entries, by what the transactions themselves do not tell.

    Entries that were discarded are of transactions that were changed.
    """
    changed = [found_by(sql.find_transactions_changed)] if query.include_discarded else []
    ways = metadata_ways(
        Noun.ENTRY,
        [*equal_pairs(query.metadata), *ways_of(query.metadata_terms)],
        is_created_order=query.order.is_created and query.account is None,
    )
    if query.created_at:
        statement = sql.find_transactions_written_between
        ways.append(await changed_between(at, statement, sql.find_position_of_transactions_at, query.created_at))
    if query.updated_at:
        statement = sql.find_transactions_written_between
        written = await changed_between(at, statement, sql.find_position_of_transactions_at, query.updated_at)
        edited = found_by(sql.find_transactions_of_edited_entries, *query.updated_at.texts())
        ways.append(union(written, edited))
    for amounts in _by_amount(query.amounts):
        ways.append(union(amounts, found_by(sql.find_transactions_of_many_entries), *changed))
    reasons = _reasons_of(query.statuses)
    if changed and reasons:
        ways.append(union(found_by(sql.find_transactions_by_state, numbers_of(reasons)), *changed))
    if changed and query.effective_at:
        statement = sql.find_transactions_effective_between
        effective = await changed_between(at, statement, sql.find_position_of_transactions_at, query.effective_at)
        ways.append(union(effective, *changed))
    return ways


def _by_amount(conditions: Iterable[AmountCondition]) -> Iterable[Matches]:
    """The ranges of amounts that fulfil the conditions, unless they are all amounts."""
    least, most = 0, _AMOUNT_MAX
    excluded = set()
    for operator, demanded in conditions:
        if operator in (Operator.EQ, Operator.GTE, Operator.GT):
            least = max(least, demanded + (operator == Operator.GT))
        if operator in (Operator.EQ, Operator.LTE, Operator.LT):
            most = min(most, demanded - (operator == Operator.LT))
        if operator == Operator.NE:
            excluded.add(demanded)
    ranges = []
    for amount in sorted(excluded):
        if least <= amount <= most:
            ranges.append((least, amount - 1))
            least = amount + 1
    ranges.append((least, most))
    if ranges != [(0, _AMOUNT_MAX)]:
        yield union(*[found_by(sql.find_transactions_by_amount, *each) for each in ranges if each[0] <= each[1]])
