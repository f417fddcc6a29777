"""The model's categories: what is in them, and what each call about them is answered.

The state changes as the service's must; a Refusal is raised before anything does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from tests.model.operations import (
    AddMember,
    CategoryCommand,
    CategoryDemand,
    CreateCategory,
    DeleteCategory,
    Name,
    RemoveMember,
    UpdateCategory,
)
from tests.model.state import Refusal, State, View

LEVELS_MAX = 5


def apply(state: State, body: CategoryCommand) -> View:
    match body:
        case CreateCategory():
            return _create(state, body)
        case UpdateCategory():
            return _update(state, body)
        case DeleteCategory():
            return _delete(state, body)
        case RemoveMember():
            return _remove(state, body)
        case AddMember():
            return _add(state, body)
    raise TypeError(body)


def find(state: State, names: Sequence[Name]) -> list[str]:
    """The categories that are not deleted, by their names."""
    found = [_find(state, name) for name in names]
    missing = {name for name, key in zip(names, found, strict=True) if key is None}
    if missing:
        raise Refusal("CATEGORY_NOT_FOUND", len(missing))
    return [key for key in found if key is not None]


def find_demanded(state: State, demands: Iterable[CategoryDemand]) -> list[str]:
    return find(state, [demand.category for demand in demands])


def join(state: State, member: str, categories: Sequence[str]) -> None:
    """Puts what is created right now into categories."""
    if categories:
        state.members |= {(category, member) for category in categories}


def check_currency(state: State, category: str, currency: str) -> None:
    if state.categories[category]["currency"] != currency:
        raise Refusal("CATEGORY_CURRENCY_MISMATCH")


def _create(state: State, body: CreateCategory) -> View:
    exponent = state.exponent(body.currency, body.exponent)
    parents = find(state, [Name(key) for key in body.parents])
    for parent in parents:
        check_currency(state, parent, body.currency)
    for parent in parents:
        _check_levels(_levels_above(state, parent) + 1)
    _check_external_id(state, body.external_id, None)
    key = f"c{len(state.categories)}"
    state.exponents[body.currency] = exponent
    state.categories[key] = {
        "name": body.name,
        "description": body.description,
        "normal_balance": body.normal_balance,
        "currency": body.currency,
        "exponent": exponent,
        "external_id": body.external_id,
        "metadata": dict(body.metadata),
        "is_deleted": False,
    }
    join(state, key, body.parents)
    return _answered(state, key)


def _update(state: State, body: UpdateCategory) -> View:
    (key,) = find(state, [body.category])
    _check_external_id(state, body.external_id or "", key)
    state.categories[key] = state.edited(state.categories[key], body)
    return _answered(state, key)


def _delete(state: State, body: DeleteCategory) -> View:
    (key,) = find(state, [body.category])
    # Answered as it was, and gone.
    view = state.category_view(key)
    state.members = frozenset(pair for pair in state.members if key not in pair)
    state.categories[key] = state.categories[key] | {"is_deleted": True}
    state.position += 1
    return view | {"is_deleted": True, "position": state.position}


def _add(state: State, body: AddMember) -> View:
    (category,) = find(state, [body.category])
    if body.account is not None:
        (member,) = state.find_accounts([body.account])
        check_currency(state, category, state.accounts[member]["currency"])
    else:
        assert body.member is not None
        (member,) = find(state, [body.member])
        check_currency(state, category, state.categories[member]["currency"])
        if member == category or member in _above(state, category):
            raise Refusal("CATEGORY_CYCLE")
        _check_levels(_levels_above(state, category) + _levels_below(state, member))
    if (category, member) not in state.members:
        state.members |= {(category, member)}
    return _answered(state, category)


def _remove(state: State, body: RemoveMember) -> View:
    (category,) = find(state, [body.category])
    if body.account is not None:
        (member,) = state.find_accounts([body.account])
    else:
        assert body.member is not None
        (member,) = find(state, [body.member])
    if (category, member) not in state.members:
        raise Refusal("CATEGORY_MEMBER_NOT_FOUND")
    state.members -= {(category, member)}
    return _answered(state, category)


def _answered(state: State, key: str) -> View:
    state.position += 1
    return state.category_view(key) | {"position": state.position}


def _find(state: State, name: Name) -> str | None:
    for key in state.living_categories():
        if key == name.key or (name.external_id and state.categories[key]["external_id"] == name.external_id):
            return key
    return None


def _check_external_id(state: State, external_id: str, own: str | None) -> None:
    for key in state.living_categories():
        if external_id and state.categories[key]["external_id"] == external_id and key != own:
            raise Refusal("EXTERNAL_ID_TAKEN")


def _check_levels(levels: int) -> None:
    if levels > LEVELS_MAX:
        raise Refusal("CATEGORY_TOO_DEEP")


def _above(state: State, key: str) -> set[str]:
    parents = {parent for parent, member in state.members if member == key}
    return parents.union(*(_above(state, parent) for parent in parents))


def _levels_above(state: State, key: str) -> int:
    return 1 + max(chain((0,), (_levels_above(state, parent) for parent, member in state.members if member == key)))


def _levels_below(state: State, key: str) -> int:
    if key in state.accounts:
        return 0
    return 1 + max(chain((0,), (_levels_below(state, member) for parent, member in state.members if parent == key)))
