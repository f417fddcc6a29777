"""The lines of accounts: the entries that a batch wrote, and the versions of the accounts that it moved."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.book import TAIL_VERSIONS, Effect
from ledger_server.domain.ids import first_line, parse_entry_id, time_of_id
from ledger_server.domain.model import Account, AccountVersion, BalanceChange
from ledger_server.posting.columns import NULL, NUMBERS, literals, quoted_map, time_or_now
from ledger_server.posting.metadata_pairs import MetadataPairs

# Of the columns of a line those that an entry of a new transaction has, and all.
_ENTRY_WIDTH, _WIDTH = 15, 21
_NOT_SHOWN = (NULL, NULL, NULL, NULL, NULL)
_NO_ENTRY = (NULL, NULL, NULL, NULL, NULL, NULL)
_NOTHING_DISCARDED = (NULL, NULL, NULL)


class LineRows:
    """What a batch adds to `account_lines`."""

    def __init__(self, now: datetime, pairs: MetadataPairs) -> None:
        """`pairs` is told of the entries' metadata."""
        self._now = now
        self._pairs = pairs
        self._rows: list[tuple[str, ...]] = []
        # The accounts that have got another TAIL_VERSIONS versions by it.
        self.grown: set[str] = set()

    def columns(self, *, only_entries: bool) -> list[str]:
        """For write_batch.sql; or if all are entries of new transactions, for write_plain_batch.sql."""
        return literals(self._rows, _ENTRY_WIDTH if only_entries else _WIDTH)

    def add_account(self, account: Account) -> None:
        """The version 0 of a new account."""
        counters = (NULL, "0", NULL, "0", "0", "0", "0", NULL)
        line, position = str(first_line(account.created_position)), str(account.created_position)
        self._rows.append((line, account.id, *counters, position, *_NO_ENTRY, *_NOTHING_DISCARDED, NULL))

    def __len__(self) -> int:
        return len(self._rows)

    def add_effect(self, effect: Effect) -> None:
        """The entries that were written, and the versions of the accounts that were moved.

        A version is on one line with the first entry on its account, of the transaction that the command is answered
        with; if there is none, on a line of its own.
        """
        first = effect.transactions[0].transaction
        position = str(effect.position)
        moved = {change.after.account.id: change for change in effect.changes}
        for transaction, _, wrote_entries in effect.transactions:
            if not wrote_entries:
                continue
            entry_set = transaction.entry_set
            line = entry_set.first_line
            version, status = str(transaction.version), NUMBERS[transaction.status]
            for n, (after, direction, amount, metadata, reverses_entry_id, _) in enumerate(entry_set.entries):
                if metadata:
                    self._pairs.add_entry(transaction.created_position, metadata)
                change = moved.pop(after.account.id, None) if transaction is first else None
                self._rows.append(
                    (
                        str(line + n),
                        after.account.id,
                        transaction.id,
                        *(_shown(after) if change is None else self._version(change)),
                        position,
                        status,
                        NUMBERS[direction],
                        str(amount),
                        quoted_map(metadata) if metadata else NULL,
                        # What an entry of a new transaction has not got, or always the same.
                        version,
                        _line_of(after.account.ledger_id, reverses_entry_id),
                        *(_NOTHING_DISCARDED if change is None else _discarded(change)),
                        NULL if reverses_entry_id is None else time_of_id(reverses_entry_id).isoformat(),
                    )
                )
        for n, change in enumerate(moved.values(), len(first.entry_set.entries)):
            ids = (str(first.entry_set.first_line + n), change.after.account.id, first.id)
            self._rows.append((*ids, *self._version(change), position, *_NO_ENTRY, *_discarded(change), NULL))

    def _version(self, change: BalanceChange) -> tuple[str, ...]:
        """What a line says of the version that it is."""
        after = change.after
        posted_debits, posted_credits, pending_debits, pending_credits = after.counters
        if not after.lock_version % TAIL_VERSIONS:
            self.grown.add(after.account.id)
        return (
            str(after.lock_version),
            NULL,
            str(posted_debits),
            str(posted_credits),
            str(pending_debits),
            str(pending_credits),
            time_or_now(change.effective_at, self._now),
        )


def _shown(version: AccountVersion) -> tuple[str, ...]:
    """What a line says that is no version and only shows one."""
    return (NULL, str(version.lock_version), *_NOT_SHOWN)


def _line_of(ledger_id: int, entry_id: str | None) -> str:
    return NULL if entry_id is None else str(parse_entry_id(ledger_id, entry_id))


def _discarded(change: BalanceChange) -> tuple[str, str, str]:
    discarded = change.discarded
    if discarded is None:
        return _NOTHING_DISCARDED
    return (discarded.effective_at.isoformat(), str(discarded.debits), str(discarded.credits))
