"""The seven guarantees of a watched stream, each a function over what a subscriber recorded, compared with the history.

| guarantee    | what it says                                                                        |
|--------------|-------------------------------------------------------------------------------------|
| ordered      | positions never go back, and no account's lock_version does                         |
| unique       | no event comes twice, whatever was cut in between; joins once in a stream           |
| reliable     | between two events that came, none that passes the filter is missing, nor a join    |
| atomic       | all that an event changed comes at once, and all who join, as they stand            |
| resumable    | a stream begins with the first event after the position it was asked to begin after |
| bookmarkable | a heartbeat's position: everything up to it has come, and nothing up to it will     |
| filtered     | nothing comes that does not pass the filter                                         |

Each returns what is wrong, as sentences. They share no code with the service: who is under a category they know from
the history too. Who comes under a watched one is announced by a snapshot at the position before.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from ledger_client import Snapshot
from ledger_client.v1.streams_pb2 import AccountBalances, BalanceChange, Event, EventKind, Heartbeat

Message = Event | Heartbeat | Snapshot


@dataclass
class Session:
    """One stream: where it was asked to begin, and what came, in order."""

    after_position: int
    messages: list[Message] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [message for message in self.messages if isinstance(message, Event)]


@dataclass
class Recording:
    """What one subscriber got, over all its sessions. No account_ids and no category_ids: the whole ledger."""

    account_ids: frozenset[str] = frozenset()
    category_ids: frozenset[str] = frozenset()
    sessions: list[Session] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        return [message for session in self.sessions for message in session.messages]

    @property
    def events(self) -> list[Event]:
        return [message for message in self.messages if isinstance(message, Event)]

    def passing(self, history: Sequence[Event]) -> list[Event]:
        """What of the history passes the filter, as it should come."""
        walk = zip(history, memberships(history, self.category_ids), strict=True)
        return [passed for passed in (self._pass(event, members) for event, members in walk) if passed.changes]

    def passes(self, change: BalanceChange, members: Members) -> bool:
        if not self.account_ids and not self.category_ids:
            return True
        if change.category_id:
            return change.category_id in self.category_ids
        return change.account_id in self.account_ids or change.account_id in members.under

    def _pass(self, event: Event, members: Members) -> Event:
        passed = Event()
        passed.CopyFrom(event)
        chosen = [change for change in event.changes if self.passes(change, members)]
        del passed.changes[:]
        passed.changes.extend(chosen)
        return passed


class Members(NamedTuple):
    """The accounts under some categories after an event, and those that came under one by it. Also whatever is under
    one before or after it, or was when it was deleted.
    """

    under: frozenset[str]
    joined: frozenset[str]
    concerned: frozenset[str]


def memberships(history: Sequence[Event], category_ids: frozenset[str]) -> Iterator[Members]:
    """For each event in turn."""
    accounts: set[str] = set()
    concerned_before: frozenset[str] = frozenset()
    deleted: set[str] = set()
    members = Members(frozenset(), frozenset(), frozenset())
    for event, (before, after) in zip(history, nestings(history), strict=True):
        if event.kind == EventKind.EVENT_KIND_ACCOUNT_CREATED:
            accounts.add(event.account_id)
        if before is not after:
            concerned = frozenset(id_ for id_ in after if above(id_, after) & category_ids)
            if event.kind == EventKind.EVENT_KIND_CATEGORY_DELETED:
                deleted |= {event.category_id} & concerned_before
            under = concerned & accounts
            yield Members(under, under - members.under, concerned | concerned_before | deleted)
            members = Members(under, frozenset(), concerned | deleted)
            concerned_before = concerned
        else:
            yield members


Parents = Mapping[str, frozenset[str]]


def nestings(history: Sequence[Event]) -> Iterator[tuple[Parents, Parents]]:
    """Into which categories each account and category is put directly, before each event and after it."""
    parents: dict[str, frozenset[str]] = {}
    for event in history:
        before, member_id = parents, event.member_account_id or event.member_category_id
        match event.kind:
            case EventKind.EVENT_KIND_ACCOUNT_CREATED | EventKind.EVENT_KIND_CATEGORY_CREATED:
                parents = parents | {event.account_id or event.category_id: frozenset(event.parent_category_ids)}
            case EventKind.EVENT_KIND_CATEGORY_MEMBER_ADDED if member_id:
                parents = parents | {member_id: parents.get(member_id, frozenset()) | {event.category_id}}
            case EventKind.EVENT_KIND_CATEGORY_MEMBER_REMOVED:
                parents = parents | {member_id: parents[member_id] - {event.category_id}}
            case EventKind.EVENT_KIND_CATEGORY_DELETED:
                gone = event.category_id
                parents = {id_: directly_in - {gone} for id_, directly_in in parents.items() if id_ != gone}
        yield before, parents


def above(id_: str, parents: Parents) -> frozenset[str]:
    """The categories that an account or a category is under."""
    directly_in = parents.get(id_, frozenset())
    return directly_in.union(*(above(each, parents) for each in directly_in))


Guarantee = Callable[[Recording, Sequence[Event]], Iterator[str]]


def ordered(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    last: dict[str, int] = {}
    for one, other in pairwise(recording.events):
        if other.position < one.position:
            yield f"{other.position} came after {one.position}"
    for session in recording.sessions:
        for before, after in pairwise(session.messages):
            if after.position < before.position:
                yield f"{after.position} came after {before.position}"
    for message in recording.messages:
        for account_id, lock_version in _lock_versions(message):
            if lock_version < last.get(account_id, 0):
                yield f"lock_version {lock_version} came after {last[account_id]}"
            last[account_id] = lock_version


def _lock_versions(message: Message) -> list[tuple[str, int]]:
    if isinstance(message, Event):
        return [(change.account_id, change.lock_version) for change in message.changes if change.account_id]
    return [(id_, each.lock_version) for id_, each in message.accounts.items()] if isinstance(message, Snapshot) else []


def unique(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    seen: set[int] = set()
    for event in recording.events:
        if event.position in seen:
            yield f"{event.position} came twice"
        seen.add(event.position)
    for session in recording.sessions:
        announced = Counter(message.position for message in session.messages if isinstance(message, Snapshot))
        yield from (f"a join after {position} was announced twice" for position in announced if announced[position] > 1)


def reliable(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    came = {event.position for event in recording.events}
    for event in recording.passing(history):
        if came and min(came) < event.position < max(came) and event.position not in came:
            yield f"{event.position} never came"
    announced = {message.position for message in recording.messages if isinstance(message, Snapshot)}
    for event, members in zip(history, memberships(history, recording.category_ids), strict=True):
        is_between = came and min(came) < event.position < max(came)
        if members.joined and is_between and event.position - 1 not in announced:
            yield f"who joins by {event.position} was not announced"


def atomic(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    expected = {event.position: event for event in recording.passing(history)}
    for event in recording.events:
        whole = expected.get(event.position)
        if whole is not None and _subjects(event) != _subjects(whole):
            yield f"{event.position} came in part"
    due: dict[int, dict[str, AccountBalances | None]] = {}
    balances: dict[str, AccountBalances] = {}
    for event, members in zip(history, memberships(history, recording.category_ids), strict=True):
        due[event.position - 1] = {id_: balances.get(id_) for id_ in members.joined}
        for change in event.changes:
            if change.account_id:
                balances[change.account_id] = AccountBalances(
                    account_id=change.account_id, lock_version=change.lock_version, balances=change.after
                )
    for message in recording.messages:
        if isinstance(message, Snapshot):
            for id_, standing in due.get(message.position, {}).items():
                if id_ not in message.accounts or standing not in (None, message.accounts[id_]):
                    yield f"account {id_}, which joins after {message.position}, was not announced as it stood"


def _subjects(event: Event) -> list[str]:
    return [change.account_id or change.category_id for change in event.changes]


def resumable(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    passing = [event.position for event in recording.passing(history)]
    for session in recording.sessions:
        if session.events:
            first = next((position for position in passing if position > session.after_position), None)
            if session.events[0].position != first:
                yield f"after {session.after_position} came {session.events[0].position}, not {first}"


def bookmarkable(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    passing = [event.position for event in recording.passing(history)]
    for session in recording.sessions:
        reached, came = session.after_position, set[int]()
        for message in session.messages:
            if isinstance(message, Event):
                came.add(message.position)
                if message.position <= reached:
                    yield f"{message.position} came after a heartbeat at {reached}"
                continue
            due = passing[bisect(passing, reached) : bisect(passing, message.position)]
            if missing := [position for position in due if position not in came]:
                yield f"a heartbeat at {message.position} came before {missing[0]}"
            reached = max(reached, message.position)


def filtered(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    members = dict(zip((e.position for e in history), memberships(history, recording.category_ids), strict=True))
    for message in recording.messages:
        if isinstance(message, Event):
            if not message.changes:
                yield f"{message.position} changed nothing"
            for change in message.changes:
                if not recording.passes(change, members[message.position]):
                    yield f"{message.position} came with {change.account_id or change.category_id}"
        if isinstance(message, Snapshot):
            there = members[message.position + 1].under
            yield from (f"{id_} was announced after {message.position}" for id_ in message.accounts if id_ not in there)


GUARANTEES: tuple[Guarantee, ...] = (ordered, unique, reliable, atomic, resumable, bookmarkable, filtered)


def broken(recording: Recording, history: Sequence[Event]) -> dict[str, list[str]]:
    """The guarantees that do not hold, each with what is wrong."""
    found = {guarantee.__name__: list(guarantee(recording, history)) for guarantee in GUARANTEES}
    return {name: findings for name, findings in found.items() if findings}
