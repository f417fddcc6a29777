"""What a command that nests categories, or takes them apart, is decided by: sums over accounts that it does not name.

It is a batch of its own, for those sums must stand still while it is decided. What moves is all that is under a
category, and the counters of that are known. A category above gains or loses them, but for what it has of the same
accounts otherwise: the overlap, and only that has to be summed account by account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger_server.domain.book import Book
from ledger_server.domain.category_commands import AddCategoryMember, DeleteCategory
from ledger_server.domain.commands import Command
from ledger_server.domain.money import Counters
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import counters_from

# Beyond this a set is large, whatever it is.
COUNTED_MAX = 10_000


def nests_categories(command: Command) -> bool:
    """Whether it must be a batch of its own."""
    return isinstance(command, DeleteCategory) or (
        isinstance(command, AddCategoryMember) and command.member_category is not None
    )


async def load_nesting(connection: Connection, book: Book, command: Command) -> None:
    """Fills `children` and `overlaps` of the book for a command whose names are loaded already."""
    assert isinstance(command, AddCategoryMember | DeleteCategory), command
    category = book.find_category(command.category)
    if isinstance(command, DeleteCategory):
        member = category
    else:
        assert command.member_category is not None, command
        member = book.find_category(command.member_category)
    if category is None or member is None:
        return
    category_id, moving_id = category.category.id, member.category.id
    above = set(book.above(moving_id)) if member is category else book.climb([category_id])
    if moving_id in above:
        return
    rows = await connection.fetch(sql.load_nestings_below, book.ledger.id, [*above, moving_id])
    children: dict[str, frozenset[str]] = {}
    for row in rows:
        children[row["category_id"]] = children.get(row["category_id"], frozenset()) | {row["member_category_id"]}
    book.children = children
    parents = children if member is category else [category_id]
    without = children | {parent: children.get(parent, frozenset()) - {moving_id} for parent in parents}
    moving = descend(children, moving_id)
    overlaps = {}
    for category_id in above:
        otherwise = descend(without, category_id)
        if moving_id not in otherwise:
            overlaps[category_id] = await _overlap(connection, book.ledger.id, moving, otherwise)
    book.overlaps = overlaps


async def _overlap(connection: Connection, ledger_id: str, ones: Iterable[str], others: Iterable[str]) -> Counters:
    """The counters of the accounts that are directly in categories of both sets; the cost is the smaller set's."""
    ones, others = list(ones), list(others)
    (counts,) = await connection.fetch(sql.count_members, ledger_id, ones, others, COUNTED_MAX)
    if not counts["ones"] or not counts["others"]:
        return Counters()
    if counts["others"] < counts["ones"]:
        ones, others = others, ones
    (row,) = await connection.fetch(sql.sum_overlap, ledger_id, ones, others)
    return counters_from(row)


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
