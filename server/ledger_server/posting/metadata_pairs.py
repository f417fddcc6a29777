"""What a batch does to `metadata_pairs`, by which lists find objects: the pairs that are no more, and the new ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ledger_server.domain.model import Metadata
from ledger_server.posting.columns import literals, quoted
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import VALUE_HEAD_CHARACTERS, Noun

# A key and the head of its value, which may be that of several changes.
Pairs = frozenset[tuple[str, str]]
_Object = tuple[Noun, int]
# A row's key: noun, key, head of the value, first position.
_Block = tuple[int, str, str, int]

# How many created positions share a row; so many that a position in it is a byte.
BLOCK_POSITIONS = 256


class MetadataPairs:
    """The pairs of the objects that a batch changes: as they were before it, and as they are after it."""

    def __init__(self) -> None:
        # Of those that had some.
        self._before: dict[_Object, Pairs] = {}
        self._after: dict[_Object, Pairs] = {}
        # Of entries, by the position of their transaction.
        self._entries: dict[int, Pairs] = {}

    @property
    def has_gone(self) -> bool:
        """Whether there are pairs that are no more."""
        return any(before - self._after[key] for key, before in self._before.items())

    def replace(self, noun: Noun, created_position: int, before: Metadata | None, after: Metadata) -> None:
        """Notes a change of an object's metadata; `before` is None for a new object. Of several the last stays."""
        if before is after:
            return
        key = (noun, created_position)
        if before and key not in self._after:
            self._before[key] = _pairs(before)
        self._after[key] = _pairs(after)

    def add_entry(self, created_position: int, metadata: Metadata) -> None:
        """Notes the metadata of a new entry of a transaction."""
        self._entries[created_position] = self._entries.get(created_position, frozenset()) | _pairs(metadata)

    async def remove_gone(self, connection: Connection, ledger_id: int) -> None:
        """Removes the pairs that are no more."""
        gone = _blocks((key, before - self._after[key]) for key, before in self._before.items())
        # Each by itself, in one round trip: a join with a list of them may compare each with each.
        await connection.executemany(
            sql.delete_metadata_pair, [(ledger_id, *block, bytes(offsets)) for block, offsets in gone.items()]
        )

    def new_columns(self) -> list[str]:
        """The new pairs as columns, for write_batch.sql."""
        before = self._before
        rows = _rows((key, after - before[key] if key in before else after) for key, after in self._after.items())
        if self._entries:
            rows += _rows(((Noun.ENTRY, position), pairs) for position, pairs in self._entries.items())
        return literals(rows, 5)


def _pairs(metadata: Metadata) -> Pairs:
    return frozenset([(key, value[:VALUE_HEAD_CHARACTERS]) for key, value in metadata.items()])


def _rows(pairs: Iterable[tuple[_Object, Pairs]]) -> list[tuple[str, str, str, str, str]]:
    """The rows that hold these pairs, each once, as elements of columns."""
    return [
        (str(noun), quoted(key), quoted(head), str(block_position), quoted("\\x" + offsets.hex()))
        for (noun, key, head, block_position), offsets in _blocks(pairs).items()
    ]


def _blocks(pairs: Iterable[tuple[_Object, Pairs]]) -> dict[_Block, bytearray]:
    """The rows that hold these pairs, with their offsets."""
    blocks: defaultdict[_Block, bytearray] = defaultdict(bytearray)
    for (noun, position), heads in pairs:
        offset = position % BLOCK_POSITIONS
        for key, head in heads:
            blocks[int(noun), key, head, position - offset].append(offset)
    return blocks
