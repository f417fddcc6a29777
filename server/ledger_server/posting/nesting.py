"""What a command that nests categories, or takes them apart, is decided by: sums over accounts that it does not name.

It is a batch of its own, for those sums must stand still while it is decided. What moves is all that is under a
category, and the counters of that are known. A category above gains or loses them, but for what it has of the same
accounts otherwise: the overlap, and only that has to be summed account by account. A small one is summed right in the
lane; a large one was summed beside it (summing.py), and the lane only adds what changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeGuard

from ledger_server.domain.book import Book
from ledger_server.domain.category_commands import AddCategoryMember, DeleteCategory, NestingCommand
from ledger_server.domain.commands import Command
from ledger_server.domain.deciding import decide
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.model import Overlap
from ledger_server.domain.money import Counters
from ledger_server.posting.overlaps import caught_up, sum_small, touched_since
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection


def nests_categories(command: Command) -> TypeGuard[NestingCommand]:
    """Whether it must be a batch of its own."""
    return isinstance(command, DeleteCategory) or (
        isinstance(command, AddCategoryMember) and command.member_category is not None
    )


async def load_nesting(connection: Connection, book: Book, command: NestingCommand, time: datetime) -> None:
    """Fills `children` and `overlaps` of the book for a command whose names are loaded already.

    Raises OverlapNotSummed if there is a large one that was not summed beside the lane, or too long ago.
    """
    overlaps = await find_overlaps(connection, book, command, time)
    summed = command.summed if command.summed is not None and command.summed.epoch == book.epoch else None
    counters: dict[Overlap, Counters] = {}
    for overlap in set(overlaps.values()):
        if summed is None or overlap not in summed.counters:
            counters[overlap] = await sum_small(connection, book.ledger.id, overlap, book.position)
    if summed is not None:
        touched = await touched_since(connection, book.ledger.id, summed, book.position)
        counters |= await caught_up(connection, book.ledger.id, summed, touched, book.position)
    book.overlaps = {**book.overlaps, **{category_id: counters[overlap] for category_id, overlap in overlaps.items()}}


async def find_overlaps(
    connection: Connection, book: Book, command: NestingCommand, time: datetime
) -> dict[str, Overlap]:
    """The overlaps to be summed, by the categories above that gain or lose what moves; fills `children` of the book.

    None are, if the command is refused or changes nothing: that does not depend on what they are.
    """
    category = book.find_category(command.category)
    if isinstance(command, DeleteCategory):
        member = category
    else:
        assert command.member_category is not None, command
        member = book.find_category(command.member_category)
    if category is None or member is None:
        return {}
    category_id, moving_id = category.category.id, member.category.id
    above = set(book.above(moving_id)) if member is category else book.climb([category_id])
    if moving_id in above:
        return {}
    rows = await connection.fetch(sql.load_nestings_below, book.ledger.id, [*above, moving_id])
    children: dict[str, frozenset[str]] = {}
    for row in rows:
        children[row["category_id"]] = children.get(row["category_id"], frozenset()) | {row["member_category_id"]}
    book.children = children
    parents = children if member is category else [category_id]
    without = children | {parent: children.get(parent, frozenset()) - {moving_id} for parent in parents}
    moving = frozenset(descend(children, moving_id))
    overlaps = {}
    for category_id in above:
        otherwise = descend(without, category_id)
        if moving_id not in otherwise:
            overlaps[category_id] = Overlap(moving, frozenset(otherwise))
    book.overlaps = dict.fromkeys(overlaps, Counters())
    try:
        effect = decide(book, command, time)
    except LedgerError:
        return {}
    return overlaps if effect.joined_or_left else {}


def descend(children: Mapping[str, Iterable[str]], category_id: str) -> set[str]:
    """The category and all that is nested under it."""
    reached: set[str] = set()
    ahead = [category_id]
    while ahead:
        each = ahead.pop()
        if each not in reached:
            reached.add(each)
            ahead += children.get(each, ())
    return reached
