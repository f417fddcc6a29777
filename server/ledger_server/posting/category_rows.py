"""The rows of categories that a batch writes: what is not money, members, and counters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from ledger_server.domain.book import Effect
from ledger_server.domain.model import Account, Category, EventKind
from ledger_server.domain.money import ISO_4217
from ledger_server.posting.columns import columns
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection


class _Members:
    """Who joins and who leaves, of accounts or of categories."""

    def __init__(self, insert: str, end: str) -> None:
        self._insert = insert
        self._end = end
        # By category and member: the positions from which and until which it is in.
        self._joined: dict[tuple[str, str], list[tuple[int, int | None]]] = {}
        self._left: list[tuple[str, str, int]] = []

    def join(self, category_id: str, member_id: str, position: int) -> None:
        self._joined.setdefault((category_id, member_id), []).append((position, None))

    def leave(self, category_id: str, member_id: str, position: int) -> None:
        spans = self._joined.get((category_id, member_id))
        if spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], position)
        else:
            self._left.append((category_id, member_id, position))

    def leave_deleted(self, category_id: str, position: int) -> None:
        """Ends what joined a category, or as one, in this batch."""
        for (parent_id, member_id), spans in self._joined.items():
            if category_id in (parent_id, member_id) and spans[-1][1] is None:
                spans[-1] = (spans[-1][0], position)

    async def write(self, connection: Connection, ledger_id: int) -> None:
        if self._left:
            # Each by itself, in one round trip: a join with a list of them may compare each with each.
            await connection.executemany(self._end, [(ledger_id, *left) for left in self._left])
        if self._joined:
            rows = [
                (*key, str(start), None if end is None else str(end))
                for key, spans in self._joined.items()
                for start, end in spans
            ]
            await connection.execute(self._insert, ledger_id, *columns(rows, 4))


class CategoryRows:
    """The rows of one batch's effects on categories."""

    def __init__(self, ledger_id: int, now: datetime) -> None:
        self._ledger_id = ledger_id
        self._now = now
        # Whether there are rows that are not in `versions`.
        self.has_others = False
        self._new: dict[str, Category] = {}
        self._updated: dict[str, Category] = {}
        self._deleted: dict[str, int] = {}
        # The counters after the commands, for write_batch.sql.
        self.versions: list[tuple[str, ...]] = []
        self._accounts = _Members(sql.insert_category_accounts, sql.end_category_account)
        self._nestings = _Members(sql.insert_category_nestings, sql.end_category_nesting)

    def add_effect(self, effect: Effect) -> None:
        position = effect.position
        for _, after in effect.category_changes:
            posted_debits, posted_credits, pending_debits, pending_credits = after.counters
            self.versions.append(
                (
                    after.category.id,
                    str(position),
                    str(posted_debits),
                    str(posted_credits),
                    str(pending_debits),
                    str(pending_credits),
                )
            )
        for category_id, account_id, member_category_id, joins in effect.member_changes:
            self.has_others = True
            members = self._accounts if account_id is not None else self._nestings
            (members.join if joins else members.leave)(category_id, account_id or member_category_id or "", position)
        if effect.category is not None and effect.kind in _OF_THE_CATEGORY:
            self._add_category(effect.category.category, effect.kind, position)

    def _add_category(self, category: Category, kind: EventKind, position: int) -> None:
        self.has_others = True
        if kind == EventKind.CATEGORY_CREATED or category.id in self._new:
            self._new[category.id] = category
        else:
            self._updated[category.id] = category
        if kind == EventKind.CATEGORY_DELETED:
            self._deleted[category.id] = position
            self._nestings.leave_deleted(category.id, position)

    async def write_updated(self, connection: Connection) -> None:
        """Changed rows go before new ones: a new category may take an external id that a changed one gives up."""
        if not self._updated:
            return
        await connection.execute(sql.release_category_external_ids, self._ledger_id, list(self._updated))
        # Each by itself, in one round trip: a join with a list of them may compare each with each.
        rows = [
            (
                self._ledger_id,
                c.id,
                c.name,
                c.description,
                c.external_id,
                c.metadata,
                self._deleted.get(c.id),
                c.deleted_at,
                self._now,
            )
            for c in self._updated.values()
        ]
        await connection.executemany(sql.update_category, rows)

    async def write_new(self, connection: Connection) -> None:
        """New categories, to which their counters and members refer."""
        if self._new:
            await self._write_new_categories(connection)

    async def write_members(self, connection: Connection) -> None:
        """Who is in which, after the accounts' rows, to which members' rows refer."""
        await self._accounts.write(connection, self._ledger_id)
        await self._nestings.write(connection, self._ledger_id)
        if self._deleted:
            deleted = [(self._ledger_id, *each) for each in self._deleted.items()]
            await connection.executemany(sql.end_nestings_of_deleted, deleted)

    async def _write_new_categories(self, connection: Connection) -> None:
        rows = [
            (
                c.id,
                c.name,
                c.description,
                str(int(c.normal_balance)),
                c.currency,
                str(c.currency_exponent),
                c.external_id,
                json.dumps(c.metadata),
                str(c.created_position),
                str(self._deleted[c.id]) if c.id in self._deleted else None,
                _time(c),
            )
            for c in self._new.values()
        ]
        await connection.execute(sql.insert_categories, self._ledger_id, *columns(rows, 11), self._now)
        await write_currencies(connection, self._ledger_id, custom_currencies(self._new.values()))


def custom_currencies(holders: Iterable[Account | Category]) -> dict[str, int]:
    """The exponents of their currencies that are not ISO's."""
    return {each.currency: each.currency_exponent for each in holders if each.currency not in ISO_4217}


async def write_currencies(connection: Connection, ledger_id: int, exponents: Mapping[str, int]) -> None:
    """Fixes the exponents of currencies; those that are fixed already stay."""
    if exponents:
        await connection.execute(sql.insert_currencies, ledger_id, list(exponents), list(map(str, exponents.values())))


_OF_THE_CATEGORY = (EventKind.CATEGORY_CREATED, EventKind.CATEGORY_UPDATED, EventKind.CATEGORY_DELETED)


def _time(category: Category) -> str | None:
    return None if category.deleted_at is None else category.deleted_at.isoformat()
