"""Questions about balances at other times, answered from all versions that there ever were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from tests.model.operations import FUTURE, PAST, Day
from tests.model.state import State, View

# Whenever the tests are run is between two of these days.
_CLOCK = PAST
_DAYS = (0, 1, 2, 3, 300, FUTURE - 1, FUTURE, FUTURE + 1)


class Question(NamedTuple):
    """Balances of some accounts, or of one category: what was effective in a window of days or up to one, and known.

    Knowledge is given in one of three ways: `lock_version`, of a single account, `position`, or `known_at`.
    """

    accounts: tuple[str, ...]
    lower: Day | None = None
    upper: Day | None = None
    as_of: Day | None = None
    lock_version: int | None = None
    position: int | None = None
    known_at: datetime | None = None
    category: str | None = None


def random_question(random: Random, state: State, times: Sequence[datetime]) -> Question:
    """A question; `times` are those of the ledger's events, in order, the first at position 1."""
    keys, living = list(state.accounts), state.living_categories()
    category = random.choice(living) if living and random.random() < 0.4 else None
    accounts = tuple(random.sample(keys, random.choice([1, 1, 1, 2, len(keys)])))
    effective: dict[str, Any] = random.choice(
        [
            {},
            {"as_of": random.choice(_DAYS)},
            {"lower": random.choice(_DAYS)},
            {"upper": random.choice(_DAYS)},
            dict(zip(("lower", "upper"), sorted(random.choices(_DAYS, k=2)), strict=True)),
        ]
    )
    position = random.randint(0, state.position)
    time = times[max(position, 1) - 1] + timedelta(microseconds=random.choice([-1, 0, 0, 1]))
    known: list[dict[str, Any]] = [{}, {"position": position}, {"known_at": time}]
    if category is not None:
        accounts = ()
    if len(accounts) == 1:
        known.append({"lock_version": random.randint(0, state.lock_version(accounts[0]))})
    return Question(accounts, **effective, **random.choice(known), category=category)


def answer(question: Question, state: State, times: Sequence[datetime]) -> list[View]:
    """The lock_version and balances of each account, or the balances of the category."""
    if question.category is not None:
        return [{"balances": _balances(question.category, question, state, _position(question, state, times))}]
    return [_answer(account, question, state, times) for account in question.accounts]


def history(account: str, state: State, created_position: int) -> list[View]:
    """The account after each command that moved it, from its creation on."""
    positions = [created_position, *(position for position, moved in state.moves if account in moved)]
    return [
        {"position": position, "lock_version": n, "balances": _balances(account, Question(()), state, position)}
        for n, position in enumerate(positions)
    ]


def _answer(account: str, question: Question, state: State, times: Sequence[datetime]) -> View:
    position = _position(question, state, times)
    moves = [position for position, moved in state.moves if account in moved]
    if question.lock_version is not None:
        position = moves[question.lock_version - 1] if question.lock_version else 0
    return {
        "lock_version": sum(move <= position for move in moves),
        "balances": _balances(account, question, state, position),
    }


def _position(question: Question, state: State, times: Sequence[datetime]) -> int:
    """The last position that was known."""
    if question.position is not None:
        return question.position
    return state.position if question.known_at is None else sum(time <= question.known_at for time in times)


def _balances(key: str, question: Question, state: State, position: int) -> dict[str, tuple[int, int, int]]:
    """Of an account, or of a category with those that were under it at the position."""
    accounts = {key}
    if key in state.categories:
        accounts = state.under(key, next(members for start, members in state.memberships[::-1] if start <= position))
    sums = {(status, direction): 0 for status in ("posted", "pending") for direction in ("debit", "credit")}
    for versions in state.versions.values():
        known = [version for version in versions if version.position <= position]
        if not known or known[-1].status == "archived":
            continue
        for entry in known[-1].entries:
            if entry.account in accounts and _counts(question, known[-1].effective):
                sums[known[-1].status, entry.direction] += entry.amount
    return state.balances_of(key, sums)


def _counts(question: Question, effective: Day | None) -> bool:
    day = _CLOCK if effective is None else effective
    if question.as_of is not None:
        # A day's number is its first moment.
        return day <= question.as_of
    return (question.lower is None or question.lower <= day) and (question.upper is None or day < question.upper)
