"""A transaction as serialized `ledger.v1.Transaction`: the hot path's answer.

As in events/encode.py, what is the same in every answer is put together byte by byte, fields by their tags, and
messages are made only of what callers wrote; a test compares the two.
"""

from __future__ import annotations

from functools import lru_cache

from ledger_client.v1 import transactions_pb2
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.model import Entry, Transaction
from ledger_server.events.encode import balances_to_bytes, delimited, time_to_bytes, timestamp_to, varint


def transaction_to_bytes(transaction: Transaction, position: int, epoch: str) -> bytes:
    """The transaction with the entries that stand at its version; `position` is that of the command or the read."""
    parts = [
        b"\x0a\x24%b\x12\x24%b\x18%b\x20%c\x50%c\x42%b\x5a%b\x62%b\x70%b"
        % (
            transaction.id.encode(),
            ledger_text(transaction.ledger_id).encode(),
            varint(transaction.version),
            transaction.status,
            transaction.archived_reason,
            time_to_bytes(transaction.effective_at),
            time_to_bytes(transaction.created_at),
            time_to_bytes(transaction.updated_at),
            varint(position),
        )
    ]
    if epoch:
        parts.append(b"\x7a" + delimited(epoch.encode()))
    if transaction.posted_at is not None:
        parts.append(b"\x6a" + time_to_bytes(transaction.posted_at))
    parts.append(_texts(transaction).SerializeToString())
    written = transaction.entry_set
    version = b"\x12\x24%b\x18%b" % (transaction.id.encode(), varint(written.version))
    state = b"\x48%c\x62%b\x7a%b" % (
        written.status,
        time_to_bytes(written.effective_at),
        time_to_bytes(written.created_at),
    )
    for entry_id, entry in zip(written.entry_ids, written.entries, strict=True):
        line = _entry(entry_id, version, entry, state)
        parts += (b"\x4a", varint(len(line)), line)
    return b"".join(parts)


def _texts(transaction: Transaction) -> transactions_pb2.Transaction:
    """What a caller wrote, and what few transactions have."""
    message = transactions_pb2.Transaction(
        description=transaction.description,
        external_id=transaction.external_id or "",
        metadata=transaction.metadata,
        reverses_transaction_id=transaction.reverses_id or "",
        reversed_by_transaction_ids=transaction.reversed_by,
        partially_posts_transaction_id=transaction.partially_posts_id or "",
    )
    if transaction.expires_at is not None:
        message.expires_at.CopyFrom(timestamp_to(transaction.expires_at))
    return message


def _entry(entry_id: str, version: bytes, entry: Entry, state: bytes) -> bytes:
    after, direction, amount, _, reverses_entry_id, _ = entry
    account = after.account
    balances, digits = balances_to_bytes(after), b"%d" % amount
    line = b"\x0a\x24%b%b\x22\x24%b\x28%c\x32%c%b%b\x50%b\x5a%b%b%b" % (
        entry_id.encode(),
        version,
        account.id.encode(),
        direction,
        len(digits),
        digits,
        _unit(account.currency, account.currency_exponent),
        varint(after.lock_version),
        varint(len(balances)),
        balances,
        state,
    )
    metadata = entry.metadata_now
    if metadata or reverses_entry_id:
        message = transactions_pb2.Entry(metadata=metadata, reverses_entry_id=reverses_entry_id or "")
        line += message.SerializeToString()
    return line


@lru_cache(maxsize=1024)
def _unit(currency: str, currency_exponent: int) -> bytes:
    return b"\x3a%b\x40%b" % (delimited(currency.encode()), varint(currency_exponent))
