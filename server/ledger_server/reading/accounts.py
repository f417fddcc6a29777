"""Reading accounts with their balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion
from ledger_server.domain.refusals import accounts_not_found
from ledger_server.reading.balances import versions_as_of_in_time
from ledger_server.reading.categories import categories_under
from ledger_server.reading.metadata import equal_pairs, path_of, pattern_of, ways_of
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, Key, from_token
from ledger_server.reading.paging import NAMED_BYTES_MAX, Found, Room, named_too_large, weight_of_account
from ledger_server.reading.queries import NOW, AccountQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.ways import (
    Few,
    Walk,
    Way,
    balance_columns,
    changed_between,
    choose,
    created_between,
    found_by,
    metadata_ways,
    names_way,
    numbers_of,
    page_along,
    positions_literal,
)
from ledger_server.storage import sql
from ledger_server.storage.rows import Noun, Row, account_version_from

# So many bites in created order are tried before names are looked for by their index.
BITES_OF_NAMES = 2


async def get_account(at: Snapshot, account: Ref) -> AccountVersion:
    """The account as it stands, or AccountNotFound."""
    if account.id is not None:
        found = await accounts_by_id(at, [account.id])
    else:
        rows = await at.connection.fetch(sql.load_accounts_by_external_id, at.ledger_id, [account.external_id])
        found = {row["account_id"]: account_version_from(row) for row in rows}
    if not found:
        raise accounts_not_found([account])
    (version,) = found.values()
    return version


async def get_accounts(at: Snapshot, account_ids: Sequence[str]) -> list[AccountVersion]:
    """The accounts in the order asked for; AccountNotFound names those that do not exist.

    Raises InvalidField if they are too much for one answer, each as often as it is asked for.
    """
    found = await accounts_by_id(at, account_ids)
    missing = dict.fromkeys(account_id for account_id in account_ids if account_id not in found)
    if missing:
        raise accounts_not_found([Ref(account_id, None) for account_id in missing])
    room = Room(NAMED_BYTES_MAX)
    if not all(room.take(weight_of_account(found[account_id].account)) for account_id in account_ids):
        raise named_too_large("account_ids")
    return [found[account_id] for account_id in account_ids]


async def accounts_by_id(at: Snapshot, account_ids: Iterable[str]) -> dict[str, AccountVersion]:
    """Those of the accounts that exist."""
    rows = await at.connection.fetch(sql.load_accounts, at.ledger_id, sorted(set(account_ids)))
    return {row["account_id"]: account_version_from(row) for row in rows}


async def list_accounts(at: Snapshot, query: AccountQuery) -> Page[AccountVersion]:
    """A page of the ledger's accounts, by the most selective way to them. Keyed by created position."""
    descending = query.order.is_descending
    categories = None if query.category_id is None else await categories_under(at, query.category_id)
    own, ways = await _ways(at, query, categories)
    filters = _filters(query, categories)

    async def read(positions: Iterable[int], after: Key, _: int, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_accounts, at.ledger_id, positions_literal(positions), descending, after.number, count, *filters
        )

    async def along(way: Walk | Few, bites_max: int | None = None) -> Found:
        return await page_along(
            at,
            way,
            read,
            _key,
            size=query.page_size,
            start=from_token(query, HIGHEST if descending else LOWEST),
            descending=descending,
            is_created_order=True,
            bites_max=bites_max,
        )

    # The index of names finds all at once: for a part of most names that takes longer than to go and see.
    found = await along(own, BITES_OF_NAMES) if query.names else None
    if found is None or (len(found.rows) < query.page_size and found.key is not None):
        found = await along(await choose(at, ways, own, descending=descending))
    versions = [account_version_from(row) for row in found.rows]
    if query.as_of == NOW:
        return at.page(query, versions, found.key)
    then = await versions_as_of_in_time(at, versions, query.as_of)
    key = found.key if len(then) == len(versions) else _key(found.rows[len(then) - 1])
    return at.page(query, then, key)


async def _ways(at: Snapshot, query: AccountQuery, categories: list[str] | None) -> tuple[Walk, list[Way]]:
    """The walk in the list's own order, and the ways by its filters, those that match few first."""
    ways: list[Way] = []
    if query.ids:
        ways.append(found_by(sql.find_accounts_by_id, list(query.ids)))
    if query.external_id is not None:
        ways.append(found_by(sql.find_accounts_by_external_id, query.external_id))
    unions = [*equal_pairs(query.metadata), *ways_of(query.metadata_terms)]
    ways += metadata_ways(Noun.ACCOUNT, unions, is_created_order=True)
    if categories is not None:
        ways.append(found_by(sql.find_accounts_in_categories, categories))
    if query.names:
        ways.append(names_way(sql.find_accounts_by_name, at.ledger_id, query.names))
    if len(query.statuses) == 1:
        ways.append(Walk(sql.walk_accounts_by_status, (int(*query.statuses),)))
    elif query.statuses:
        ways.append(found_by(sql.find_accounts_by_status, numbers_of(query.statuses)))
    if query.currency is not None:
        ways.append(Walk(sql.walk_accounts_by_currency, (query.currency,)))
    if query.normal_balance is not None:
        ways.append(Walk(sql.walk_accounts_by_normal_balance, (int(query.normal_balance),)))
    if query.updated_at:
        statement = sql.find_accounts_changed_between
        ways.append(await changed_between(at, statement, sql.find_position_of_accounts_at, query.updated_at))
    by_creation = Walk(
        sql.walk_accounts_by_creation, await created_between(at, sql.find_position_of_accounts_at, query.created_at)
    )
    if query.created_at:
        ways.append(by_creation)
    return by_creation, ways


def _filters(query: AccountQuery, categories: list[str] | None) -> tuple[object, ...]:
    """What filter_accounts.sql takes from $6 on."""
    return (
        list(query.ids) or None,
        query.external_id,
        [pattern_of(name) for name in query.names] or None,
        numbers_of(query.statuses),
        query.currency,
        query.normal_balance and int(query.normal_balance),
        dict(query.metadata) or None,
        *path_of(query.metadata_terms),
        *query.created_at.bounds(),
        *query.updated_at.bounds(),
        *balance_columns(query.balances),
        query.include_deleted,
        categories,
    )


def _key(row: Row) -> Key:
    return Key.at(row["created_position"], row["created_position"])
