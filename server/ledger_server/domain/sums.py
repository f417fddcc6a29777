"""Sums: what accounts that move do to the categories above them."""

from __future__ import annotations

from collections.abc import Mapping

from ledger_server.domain.book import Book
from ledger_server.domain.model import AccountVersion, CategoryChange, CategoryVersion
from ledger_server.domain.money import Counters


def moved_categories(book: Book, after: Mapping[str, AccountVersion]) -> list[CategoryChange]:
    """The changes of all categories above accounts that move to these versions, by category id.

    A category above an account that moves has one even if its own counters stay.
    """
    if not book.parents:
        return []
    counters: dict[str, list[int]] = {}
    categories = book.categories
    for account_id, version in after.items():
        above = book.above(account_id)
        if not above:
            continue
        old, new = book.accounts[account_id].counters, version.counters
        a, b, c, d = new[0] - old[0], new[1] - old[1], new[2] - old[2], new[3] - old[3]
        for category_id in above:
            sums = counters.get(category_id)
            if sums is None:
                sums = counters[category_id] = list(categories[category_id].counters)
            sums[0] += a
            sums[1] += b
            sums[2] += c
            sums[3] += d
    position = book.position + 1
    changes = []
    for category_id in sorted(counters):
        before = categories[category_id]
        changes.append(
            CategoryChange(before, CategoryVersion(before.category, Counters(*counters[category_id]), position))
        )
    return changes
