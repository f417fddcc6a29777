"""The rules of categories: who is in them, and what their balances become.

A category counts each account under it once, however many ways lead there. So what joins or leaves changes a category
above by the counters of those accounts only that it has not got otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CreateCategory,
    DeleteCategory,
    RemoveCategoryMember,
    UpdateCategory,
)
from ledger_server.domain.errors import CategoryCycle, CategoryMemberNotFound, CategoryTooDeep
from ledger_server.domain.inputs import Ref, either, patched
from ledger_server.domain.ledgers import currency_exponent
from ledger_server.domain.model import (
    AccountVersion,
    Category,
    CategoryChange,
    CategoryVersion,
    EventKind,
    MemberChange,
)
from ledger_server.domain.money import Counters
from ledger_server.domain.refusals import (
    find_accounts,
    find_categories,
    refuse_deleted,
    refuse_other_currency,
    refuse_taken,
)

LEVELS_MAX = 5


def create_category(book: Book, command: CreateCategory, time: datetime) -> Effect:
    exponent = currency_exponent(book, command.currency, command.currency_exponent)
    parents = find_categories(book, [Ref(category_id, None) for category_id in command.category_ids])
    refuse_other_currency(parents, command.currency)
    for parent in parents:
        _refuse_too_deep(book, parent, 1)
    if command.external_id is not None:
        refuse_taken(book, book.category_ids, command.external_id)
    position = book.position + 1
    category = Category(
        id=command.category_id,
        ledger_id=command.ledger_id,
        name=command.name,
        description=command.description,
        normal_balance=command.normal_balance,
        currency=command.currency,
        currency_exponent=exponent,
        external_id=command.external_id,
        metadata=command.metadata,
        created_position=position,
        created_at=time,
        updated_at=time,
    )
    return Effect(
        command,
        EventKind.CATEGORY_CREATED,
        position,
        time,
        category=CategoryVersion(category, Counters(), position),
        member_changes=[MemberChange(parent, None, category.id, True) for parent in command.category_ids],
        joined_or_left=sorted(book.climb(command.category_ids)),
    )


def update_category(book: Book, command: UpdateCategory, time: datetime) -> Effect:
    (version,) = find_categories(book, [command.category])
    old = version.category
    metadata = patched(old.metadata, command.metadata)
    if command.external_id:
        refuse_taken(book, book.category_ids, command.external_id, but=old.id)
    category = replace(
        old,
        name=either(command.name, old.name),
        description=either(command.description, old.description),
        external_id=old.external_id if command.external_id is None else command.external_id or None,
        metadata=metadata,
        updated_at=time,
    )
    after = replace(version, category=category)
    return Effect(
        command, EventKind.CATEGORY_UPDATED, book.position + 1, time, category=after, under=book.above(old.id)
    )


def delete_category(book: Book, command: DeleteCategory, time: datetime) -> Effect:
    (version,) = find_categories(book, [command.category])
    left = book.above(version.category.id)
    return Effect(
        command,
        EventKind.CATEGORY_DELETED,
        book.position + 1,
        time,
        category=replace(version, category=replace(version.category, updated_at=time, deleted_at=time)),
        category_changes=_moved_by_nesting(book, left, version, -1),
        joined_or_left=left,
    )


def add_member(book: Book, command: AddCategoryMember, time: datetime) -> Effect:
    (category,) = find_categories(book, [command.category])
    category_id = category.category.id
    if command.account is not None:
        (account,) = find_accounts(book, [command.account])
        refuse_deleted(account.account)
        member_id = account.account.id
        refuse_other_currency([category], account.account.currency)
        joined, under = _joined(book, category_id, member_id)
        changes = _moved_by_account(book, joined, account, 1)
        change = MemberChange(category_id, member_id, None, True)
    else:
        assert command.member_category is not None, command
        (member,) = find_categories(book, [command.member_category], "member_category")
        member_id = member.category.id
        refuse_other_currency([category], member.category.currency)
        if member_id in book.climb([category_id]):
            raise CategoryCycle(
                f"category {member_id} is {category_id}, or above it",
                metadata={"category_id": category_id, "member_category_id": member_id},
            )
        _refuse_too_deep(book, category, _levels(book.children, member_id))
        joined, under = _joined(book, category_id, member_id)
        changes = _moved_by_nesting(book, joined, member, 1)
        change = MemberChange(category_id, None, member_id, True)
    if category_id in book.parents.get(member_id, ()):
        # It is there already; the command is accepted and changes nothing.
        above = book.above(category_id)
        return _answered(book, command, EventKind.CATEGORY_MEMBER_ADDED, time, category, under=above)
    return _answered(book, command, EventKind.CATEGORY_MEMBER_ADDED, time, category, changes, change, joined, under)


def remove_member(book: Book, command: RemoveCategoryMember, time: datetime) -> Effect:
    (category,) = find_categories(book, [command.category])
    category_id = category.category.id
    if command.account is not None:
        (account,) = find_accounts(book, [command.account])
        left, under = _left(book, category_id, "account_id", account.account.id)
        changes = _moved_by_account(book, left, account, -1)
        change = MemberChange(category_id, account.account.id, None, False)
    else:
        assert command.member_category is not None, command
        (member,) = find_categories(book, [command.member_category], "member_category")
        left, under = _left(book, category_id, "member_category_id", member.category.id)
        changes = _moved_by_nesting(book, left, member, -1)
        change = MemberChange(category_id, None, member.category.id, False)
    return _answered(book, command, EventKind.CATEGORY_MEMBER_REMOVED, time, category, changes, change, left, under)


def _answered(
    book: Book,
    command: AddCategoryMember,
    kind: EventKind,
    time: datetime,
    category: CategoryVersion,
    changes: Sequence[CategoryChange] = (),
    change: MemberChange | None = None,
    joined_or_left: Sequence[str] = (),
    under: Sequence[str] = (),
) -> Effect:
    after = {change.after.category.id: change.after for change in changes}
    return Effect(
        command,
        kind,
        book.position + 1,
        time,
        category=after.get(category.category.id, category),
        category_changes=changes,
        member_changes=[] if change is None else [change],
        joined_or_left=joined_or_left,
        under=under,
    )


def _moved_by_account(
    book: Book, category_ids: Iterable[str], account: AccountVersion, sign: int
) -> list[CategoryChange]:
    return (
        [_moved(book, category_id, account.counters, sign) for category_id in category_ids]
        if any(account.counters)
        else []
    )


def _moved_by_nesting(
    book: Book, category_ids: Iterable[str], member: CategoryVersion, sign: int
) -> list[CategoryChange]:
    """What the categories gain or lose with all that is under the member, but for what they have of it otherwise."""
    moving = [(category_id, member.counters.plus(book.overlaps[category_id], -1)) for category_id in category_ids]
    return [_moved(book, category_id, counters, sign) for category_id, counters in moving if any(counters)]


def _moved(book: Book, category_id: str, counters: Counters, sign: int) -> CategoryChange:
    before = book.categories[category_id]
    return CategoryChange(
        before, CategoryVersion(before.category, before.counters.plus(counters, sign), book.position + 1)
    )


def _joined(book: Book, category_id: str, member_id: str) -> tuple[Sequence[str], Sequence[str]]:
    """The categories that a member comes under when it is put into this one, and those that it is under already."""
    under = book.above(member_id)
    return sorted(book.climb([category_id]).difference(under)), under


def _left(book: Book, category_id: str, key: str, member_id: str) -> tuple[Sequence[str], Sequence[str]]:
    """The categories that a member leaves when it is taken out of this one, and those that it stays under; refused
    unless it is directly in this one.
    """
    parents = book.parents.get(member_id, frozenset())
    if category_id not in parents:
        raise CategoryMemberNotFound(
            f"{member_id} is not directly in category {category_id}",
            metadata={"category_id": category_id, key: member_id},
        )
    under = book.climb(parents - {category_id})
    return sorted(set(book.above(member_id)) - under), sorted(under)


def _refuse_too_deep(book: Book, category: CategoryVersion, levels_below: int) -> None:
    levels = _levels(book.parents, category.category.id) + levels_below
    if levels > LEVELS_MAX:
        raise CategoryTooDeep(
            f"categories would be nested to {levels} levels; at most {LEVELS_MAX} are allowed",
            metadata={"category_id": category.category.id, "levels": str(levels)},
        )


def _levels(edges: Mapping[str, Collection[str]], category_id: str) -> int:
    """How many levels there are from a category to the farthest end of these edges, itself included."""
    return 1 + max((_levels(edges, other) for other in edges.get(category_id, ())), default=0)
