"""Short pieces of names, by which lists find the names that contain a text.

A name is found by the numbers of all its pieces of one, two and three characters, which an index holds; what is looked
for has all of its own among them. Pieces say more than they mean to: letter case is ignored, and two may share a
number, so what is found is looked at again. The ledger is part of each piece: none leads to another ledger's names.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

PIECE_CHARACTERS_MAX = 3
# Of a long text so many pieces are enough to find it.
PIECES_MAX = 30


def grams_of(ledger_id: int, name: str) -> list[int]:
    """The numbers of a name's pieces."""
    folded = _fold(name)
    lengths = range(1, PIECE_CHARACTERS_MAX + 1)
    return _numbers(ledger_id, {folded[n : n + k] for k in lengths for n in range(len(folded) - k + 1)})


def grams_within(ledger_id: int, text: str) -> list[int]:
    """Numbers that every name has that contains the text; none if any name may."""
    folded = _fold(text)
    length = min(len(folded), PIECE_CHARACTERS_MAX)
    pieces = dict.fromkeys(folded[n : n + length] for n in range(len(folded) - length + 1))
    return _numbers(ledger_id, list(pieces)[:PIECES_MAX]) if length else []


def _numbers(ledger_id: int, pieces: Iterable[str]) -> list[int]:
    seed = crc32(b"%d" % ledger_id)
    return sorted({crc32(piece.encode(), seed) for piece in pieces})


def _fold(text: str) -> str:
    """Equal for texts that PostgreSQL takes for equal but for letter case, whatever it knows of letters."""
    if text.isascii():
        return text.lower()
    # What a dotted capital I leaves behind is no letter; the first of several keeps lengths as they are.
    return "".join([character.casefold()[0] for character in text if character != "\u0307"])
