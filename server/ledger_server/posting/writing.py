"""Writing effects: set-based statements, their rows gathered as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ledger_server.domain.book import Book, Effect, Reversed, TransactionWrite
from ledger_server.domain.commands import CreateLedger, UpdateAccount
from ledger_server.domain.ids import parse_entry_id
from ledger_server.domain.model import Account, AccountVersion, EventKind, Ledger, Transaction
from ledger_server.events.stored import GENESIS_DIGEST, chain, pack_edge, pack_event
from ledger_server.posting.category_rows import CategoryRows, custom_currencies, write_currencies
from ledger_server.posting.columns import (
    NULL,
    NUMBERS,
    columns,
    literals,
    or_null,
    quoted,
    quoted_map,
    quoted_or_null,
    time_or_now,
)
from ledger_server.posting.line_rows import LineRows
from ledger_server.posting.metadata_pairs import MetadataPairs
from ledger_server.posting.monitor_rows import MonitorRows
from ledger_server.storage import sql
from ledger_server.storage.name_grams import grams_of
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import Noun, limits_to

# request_id, fingerprint, object_id, version, outcome.
RequestRow = tuple[str, bytes, str | None, str | None, str | None]


class Rows:
    """The rows of a batch. Effects are added in order; each table's rows are written by one statement."""

    def __init__(self, book: Book, now: datetime) -> None:
        self.ledger_id = ledger_id = book.ledger.id
        self.now = now
        # Where the ledger stands before these rows; they are written only if it does.
        self.epoch, self.position_before = book.epoch, book.position
        self.position = book.position
        self.digest = book.digest
        self._ledgers: list[tuple[Ledger, str]] = []
        self._updated_ledger: Ledger | None = None
        self._new_accounts: dict[str, AccountVersion] = {}
        self._updated_accounts: dict[str, AccountVersion] = {}
        self._new_transactions: dict[str, Transaction] = {}
        self._updated_transactions: dict[str, Transaction] = {}
        self._released_transactions: set[str] = set()
        self._is_external_id_taken = False
        # Whether new transactions refer to others.
        self._has_links = False
        self._replaced: list[Transaction] = []
        self._limits: list[tuple[str, str, str | None]] = []
        self._reversed: dict[str, Reversed] = {}
        self._pairs = MetadataPairs()
        self._categories = CategoryRows(ledger_id, now)
        self._entry_metadata: dict[str, tuple[str, str, str]] = {}
        self._lines = LineRows(now, self._pairs)
        self._events: list[tuple[str, bytes, bytes]] = []
        self._requests: list[tuple[str, bytes, str, str, str]] = []
        self._monitors: MonitorRows | None = None
        self._hot: tuple[str, list[Any]] = ("", [])

    def __bool__(self) -> bool:
        return bool(self._events or self._requests)

    @property
    def line_count(self) -> int:
        """How many lines there are: entries nearly all."""
        return len(self._lines)

    @property
    def grown(self) -> set[str]:
        """The accounts that have many new versions by them."""
        return self._lines.grown

    @property
    def is_one_statement(self) -> bool:
        """Whether one statement writes them all."""
        return not (
            self._ledgers
            or self._updated_ledger
            or self._updated_accounts
            or self._custom_currencies
            or self._categories.has_others
            or self._exchanges_external_ids
            or (self._monitors and self._monitors.has_others)
            or self._pairs.has_gone
            or self._entry_metadata
            or self._limits
        )

    @property
    def _exchanges_external_ids(self) -> bool:
        """Whether a transaction takes an external id that another one may give up; archiving gives it up too."""
        return self._is_external_id_taken and bool(self._released_transactions)

    @property
    def logged(self) -> list[bytes]:
        """The events, as they are stored."""
        return [payload for _, payload, _ in self._events]

    def add_request(self, row: RequestRow) -> None:
        request_id, fingerprint, object_id, version, outcome = row
        self._requests.append(
            (quoted(request_id), fingerprint, or_null(object_id), or_null(version), quoted_or_null(outcome))
        )

    def add_effect(self, effect: Effect, request_id: str) -> None:
        self._add_event(effect.position, pack_event(effect, request_id))
        if effect.monitor is not None or effect.edges:
            self._add_monitors(effect, request_id)
        if effect.ledger is not None:
            if isinstance(effect.command, CreateLedger):
                self._ledgers.append((effect.ledger, effect.command.new_epoch))
            else:
                self._updated_ledger = effect.ledger
        if effect.account is not None:
            self._add_account(effect, effect.account)
        if effect.entry is not None:
            metadata = json.dumps(effect.entry.entry.metadata)
            line = str(parse_entry_id(self.ledger_id, effect.entry.id))
            self._entry_metadata[line] = (line, metadata, str(effect.position))
        for write in effect.transactions:
            self._add_transaction(write)
        if effect.transactions:
            self._lines.add_effect(effect)
        self._reversed.update(effect.reversed)
        if effect.category is not None or effect.category_changes or effect.member_changes:
            self._categories.add_effect(effect)

    def close(self) -> None:
        """No more effects will come: what can be made ready before PostgreSQL is waited for is made ready."""
        self._hot = self._hot_statement()

    async def write(self, connection: Connection) -> None:
        """Writes all rows, which are closed, within the caller's transaction: rows that others refer to first."""
        for ledger, epoch in self._ledgers:
            await connection.execute(
                sql.insert_ledger,
                ledger.id,
                ledger.name,
                ledger.description,
                ledger.metadata,
                self.now,
                GENESIS_DIGEST,
                epoch,
            )
        if self._updated_ledger is not None:
            ledger = self._updated_ledger
            await connection.execute(
                sql.update_ledger,
                ledger.id,
                ledger.name,
                ledger.description,
                ledger.metadata,
                ledger.updated_at,
                ledger.closed_before,
                ledger.deleted_at,
            )
        # Changed rows go before new ones: a new object may take an external id that a changed one gives up.
        await self._categories.write_updated(connection)
        if self._updated_accounts:
            await self._write_updated_accounts(connection)
        await self._categories.write_new(connection)
        if self._exchanges_external_ids:
            await connection.execute(
                sql.release_transaction_external_ids, self.ledger_id, list(self._released_transactions)
            )
        statement, parameters = self._hot
        await connection.execute(statement, *parameters)
        await write_currencies(connection, self.ledger_id, self._custom_currencies)
        await self._categories.write_members(connection)
        if self._monitors is not None:
            await self._monitors.write_others(connection, self.now)
        if self._pairs.has_gone:
            await self._pairs.remove_gone(connection, self.ledger_id)
        if self._entry_metadata:
            edited = columns(list(self._entry_metadata.values()), 3)
            await connection.execute(sql.upsert_entry_metadata, self.ledger_id, *edited, self.now)
        if self._limits:
            await connection.execute(sql.insert_account_limits, self.ledger_id, *columns(self._limits, 3), self.now)

    def _add_event(self, position: int, payload: bytes) -> None:
        self.position = position
        self.digest = chain(self.digest, self.now, payload)
        self._events.append((str(position), payload, self.digest))

    def _add_monitors(self, effect: Effect, request_id: str) -> None:
        for position, reading in enumerate(effect.edges, effect.position + 1):
            self._add_event(position, pack_edge(effect, reading, request_id))
        self._monitors = self._monitors or MonitorRows(self.ledger_id)
        self._monitors.add_effect(effect)

    def _add_account(self, effect: Effect, version: AccountVersion) -> None:
        account = version.account
        before = None if effect.account_before is None else effect.account_before.account.metadata
        if account.metadata or before:
            self._pairs.replace(Noun.ACCOUNT, account.created_position, before, account.metadata)
        if effect.kind == EventKind.ACCOUNT_CREATED:
            self._lines.add_account(account)
        if effect.kind == EventKind.ACCOUNT_CREATED or account.id in self._new_accounts:
            self._new_accounts[account.id] = version
        else:
            self._updated_accounts[account.id] = version
        if effect.account_before is not None:
            if isinstance(effect.command, UpdateAccount) and effect.command.limits is not None:
                self._limits.append((account.id, str(effect.position), _limits(account)))
        elif account.limits:
            self._limits.append((account.id, str(effect.position), _limits(account)))

    def _add_transaction(self, write: TransactionWrite) -> None:
        transaction, replaced, _ = write
        if transaction.metadata or replaced is not None:
            self._pairs.replace(
                Noun.TRANSACTION, transaction.created_position, replaced and replaced.metadata, transaction.metadata
            )
        if replaced is None or transaction.id in self._new_transactions:
            self._new_transactions[transaction.id] = transaction
            self._has_links |= (transaction.reverses_id or transaction.partially_posts_id) is not None
        else:
            self._updated_transactions[transaction.id] = transaction
        if replaced is not None:
            self._replaced.append(replaced)
            is_same = transaction.external_id == replaced.external_id
            if replaced.holds_external_id and not (is_same and transaction.holds_external_id):
                self._released_transactions.add(transaction.id)
            if transaction.holds_external_id and not is_same:
                self._is_external_id_taken = True

    async def _write_updated_accounts(self, connection: Connection) -> None:
        await connection.execute(sql.release_account_external_ids, self.ledger_id, list(self._updated_accounts))
        # Each by itself, in one round trip: a join with a list of them may compare each with each.
        rows = [
            (
                self.ledger_id,
                a.id,
                a.name,
                a.description,
                a.external_id,
                a.metadata,
                int(a.status),
                limits_to(a.limits),
                a.deleted_at,
                grams_of(self.ledger_id, a.name),
                self.now,
            )
            for a in (version.account for version in self._updated_accounts.values())
        ]
        await connection.executemany(sql.update_account, rows)

    @property
    def _custom_currencies(self) -> dict[str, int]:
        return custom_currencies(version.account for version in self._new_accounts.values())

    def _account_row(self, account: Account) -> tuple[str, ...]:
        grams = ",".join(map(str, grams_of(self.ledger_id, account.name)))
        return (
            account.id,
            quoted(account.name),
            quoted(account.description),
            NUMBERS[account.normal_balance],
            quoted(account.currency),
            str(account.currency_exponent),
            quoted_or_null(account.external_id),
            quoted_map(account.metadata),
            str(account.created_position),
            NUMBERS[account.status],
            quoted_or_null(_limits(account)),
            quoted(f"{{{grams}}}"),
            NULL if account.deleted_at is None else account.deleted_at.isoformat(),
        )

    def _hot_statement(self) -> tuple[str, list[Any]]:
        """The statement that writes most rows or all, with its parameters."""
        positions, payloads, digests = zip(*self._events, strict=True) if self._events else ((), (), ())
        transactions = [*self._updated_transactions.values(), *self._new_transactions.values()]
        request_ids, fingerprints, *outcomes = zip(*self._requests, strict=True) if self._requests else ((),) * 5
        turned = self._monitors.turned if self._monitors is not None else []
        is_plain = not (
            self._replaced
            or self._has_links
            or self._categories.versions
            or turned
            or self._reversed
            or self._new_accounts
        )
        parameters = [
            self.ledger_id,
            self.now,
            self.position,
            self.digest,
            *literals([self._transaction_row(t) for t in transactions], _NEW_WIDTH if is_plain else _TRANSACTION_WIDTH),
            _amounts(transactions),
            *self._lines.columns(only_entries=is_plain),
            "{" + ",".join(positions) + "}",
            payloads,
            digests,
            "{" + ",".join(request_ids) + "}",
            fingerprints,
            *("{" + ",".join(column) + "}" for column in outcomes),
            *self._pairs.new_columns(),
            self.position_before,
            self.epoch,
        ]
        if is_plain:
            return sql.write_plain_batch, parameters
        return sql.write_batch, [
            *parameters,
            *literals([self._transaction_row(t) for t in self._replaced], _TRANSACTION_WIDTH),
            *literals(self._categories.versions, 6),
            *literals(turned, 3),
            *literals([self._reversed_row(*each) for each in self._reversed.items()], 3),
            *literals([self._account_row(version.account) for version in self._new_accounts.values()], _ACCOUNT_WIDTH),
        ]

    def _reversed_row(self, entry_id: str, of_it: Reversed) -> tuple[str, ...]:
        return (str(parse_entry_id(self.ledger_id, entry_id)), str(of_it.reversed), str(of_it.amount))

    def _transaction_row(self, t: Transaction) -> tuple[str, ...]:
        return (
            t.id,
            NUMBERS[t.status],
            NUMBERS[t.archived_reason],
            str(len(t.entry_set.entries)),
            str(t.entry_set.first_line),
            str(t.position),
            time_or_now(t.effective_at, self.now),
            quoted(t.description),
            quoted_or_null(t.external_id),
            quoted_map(t.metadata),
            time_or_now(t.expires_at, self.now),
            # What follows from the rest where the transaction is new.
            str(t.version),
            str(t.created_position),
            time_or_now(t.created_at, self.now),
            time_or_now(t.updated_at, self.now),
            time_or_now(t.posted_at, self.now),
            or_null(t.reverses_id),
            or_null(t.partially_posts_id),
        )


# Of a transaction that is new, and of any.
_NEW_WIDTH, _TRANSACTION_WIDTH = 11, 18
_ACCOUNT_WIDTH = 13


def _amounts(transactions: Iterable[Transaction]) -> str:
    """The transactions' amounts as one array literal; NULL for those of several currencies."""
    return "{" + ",".join([NULL if (amount := t.amount) is None else str(amount) for t in transactions]) + "}"


def _limits(account: Account) -> str | None:
    limits = limits_to(account.limits)
    return json.dumps(limits) if limits else None
