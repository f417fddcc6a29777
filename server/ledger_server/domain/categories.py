"""The rules of categories: who is in them, and what their balances become.

A category counts each account under it once, however many ways lead there. So what joins or leaves changes a category
above by the counters of those accounts only that it has not got otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    for parent in parents:
        refuse_other_currency(parent, command.currency)
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
    return Effect(command, EventKind.CATEGORY_UPDATED, book.position + 1, time, category=after)


def delete_category(book: Book, command: DeleteCategory, time: datetime) -> Effect:
    (version,) = find_categories(book, [command.category])
    changes, left = _moved_by_nesting(book, book.above(version.category.id), version, -1)
    return Effect(
        command,
        EventKind.CATEGORY_DELETED,
        book.position + 1,
        time,
        category=replace(version, category=replace(version.category, updated_at=time, deleted_at=time)),
        category_changes=changes,
        joined_or_left=left,
    )


def add_member(book: Book, command: AddCategoryMember, time: datetime) -> Effect:
    (category,) = find_categories(book, [command.category])
    category_id = category.category.id
    if command.account is not None:
        (account,) = find_accounts(book, [command.account])
        refuse_deleted(account.account)
        member_id = account.account.id
        refuse_other_currency(category, account.account.currency)
        gaining = book.climb([category_id]) - set(book.above(member_id))
        changes, joined = _moved_by_account(book, gaining, account, 1), sorted(gaining)
        change = MemberChange(category_id, member_id, None, True)
    else:
        assert command.member_category is not None, command
        (member,) = find_categories(book, [command.member_category], "member_category")
        member_id = member.category.id
        refuse_other_currency(category, member.category.currency)
        if member_id in book.climb([category_id]):
            raise CategoryCycle(
                f"category {member_id} is {category_id}, or above it",
                metadata={"category_id": category_id, "member_category_id": member_id},
            )
        _refuse_too_deep(book, category, _levels(book.children, member_id))
        changes, joined = _moved_by_nesting(book, book.climb([category_id]), member, 1)
        change = MemberChange(category_id, None, member_id, True)
    if category_id in book.parents.get(member_id, ()):
        # It is there already; the command is accepted and changes nothing.
        return _answered(book, command, EventKind.CATEGORY_MEMBER_ADDED, time, category)
    return _answered(book, command, EventKind.CATEGORY_MEMBER_ADDED, time, category, changes, change, joined)


def remove_member(book: Book, command: RemoveCategoryMember, time: datetime) -> Effect:
    (category,) = find_categories(book, [command.category])
    category_id = category.category.id
    if command.account is not None:
        (account,) = find_accounts(book, [command.account])
        parents = _parents(book, category_id, "account_id", account.account.id)
        losing = set(book.above(account.account.id)) - book.climb(parents - {category_id})
        changes, left = _moved_by_account(book, losing, account, -1), sorted(losing)
        change = MemberChange(category_id, account.account.id, None, False)
    else:
        assert command.member_category is not None, command
        (member,) = find_categories(book, [command.member_category], "member_category")
        _parents(book, category_id, "member_category_id", member.category.id)
        changes, left = _moved_by_nesting(book, book.climb([category_id]), member, -1)
        change = MemberChange(category_id, None, member.category.id, False)
    return _answered(book, command, EventKind.CATEGORY_MEMBER_REMOVED, time, category, changes, change, left)


def _answered(
    book: Book,
    command: AddCategoryMember,
    kind: EventKind,
    time: datetime,
    category: CategoryVersion,
    changes: Collection[CategoryChange] = (),
    change: MemberChange | None = None,
    joined_or_left: Iterable[str] = (),
) -> Effect:
    after = {change.after.category.id: change.after for change in changes}
    return Effect(
        command,
        kind,
        book.position + 1,
        time,
        category=after.get(category.category.id, category),
        category_changes=list(changes),
        member_changes=[] if change is None else [change],
        joined_or_left=list(joined_or_left),
    )


def _moved_by_account(
    book: Book, category_ids: Iterable[str], account: AccountVersion, sign: int
) -> list[CategoryChange]:
    return (
        [_moved(book, category_id, account.counters, sign) for category_id in sorted(category_ids)]
        if any(account.counters)
        else []
    )


def _moved_by_nesting(
    book: Book, category_ids: Iterable[str], member: CategoryVersion, sign: int
) -> tuple[list[CategoryChange], list[str]]:
    """What the categories gain or lose with all that is under the member, and which of them do."""
    affected = sorted(set(category_ids) & book.overlaps.keys())
    moving = [(category_id, member.counters.plus(book.overlaps[category_id], -1)) for category_id in affected]
    return [_moved(book, category_id, counters, sign) for category_id, counters in moving if any(counters)], affected


def _moved(book: Book, category_id: str, counters: Counters, sign: int) -> CategoryChange:
    before = book.categories[category_id]
    return CategoryChange(
        before, CategoryVersion(before.category, before.counters.plus(counters, sign), book.position + 1)
    )


def _parents(book: Book, category_id: str, key: str, member_id: str) -> frozenset[str]:
    """What the member is directly in; refused unless it is in this category."""
    parents = book.parents.get(member_id, frozenset())
    if category_id not in parents:
        raise CategoryMemberNotFound(
            f"{member_id} is not directly in category {category_id}",
            metadata={"category_id": category_id, key: member_id},
        )
    return parents


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
