"""The seven guarantees of a watched stream, each a function over what a subscriber recorded, compared with the history.

| guarantee    | what it says                                                                        |
|--------------|-------------------------------------------------------------------------------------|
| ordered      | positions never go back, and no account's lock_version does                         |
| unique       | no event comes twice, whatever was cut in between                                   |
| reliable     | between two events that came, none that passes the filter is missing                |
| atomic       | all that an event changed comes at once                                             |
| resumable    | a stream begins with the first event after the position it was asked to begin after |
| bookmarkable | a heartbeat's position: everything up to it has come, and nothing up to it will     |
| filtered     | nothing comes that does not pass the filter                                         |

Each returns what is wrong, as sentences. They share no code with the service.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ledger_client.v1.streams_pb2 import Event, Heartbeat


@dataclass
class Session:
    """One stream: where it was asked to begin, and what came, in order."""

    after_position: int
    messages: list[Event | Heartbeat] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [message for message in self.messages if isinstance(message, Event)]


@dataclass
class Recording:
    """What one subscriber got, over all its sessions. No account_ids: the whole ledger."""

    account_ids: frozenset[str] = frozenset()
    sessions: list[Session] = field(default_factory=list)

    @property
    def messages(self) -> list[Event | Heartbeat]:
        return [message for session in self.sessions for message in session.messages]

    @property
    def events(self) -> list[Event]:
        return [message for message in self.messages if isinstance(message, Event)]

    def passing(self, history: Sequence[Event]) -> list[Event]:
        """What of the history passes the filter, as it should come."""
        return [passed for passed in (self._pass(event) for event in history) if passed.changes]

    def _pass(self, event: Event) -> Event:
        passed = Event()
        passed.CopyFrom(event)
        if self.account_ids:
            chosen = [change for change in event.changes if change.account_id in self.account_ids]
            del passed.changes[:]
            passed.changes.extend(chosen)
        return passed


Guarantee = Callable[[Recording, Sequence[Event]], Iterator[str]]


def ordered(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    last: dict[str, int] = {}
    for one, other in pairwise(recording.events):
        if other.position < one.position:
            yield f"{other.position} came after {one.position}"
    for event in recording.events:
        for change in event.changes:
            if change.lock_version < last.get(change.account_id, 0):
                yield f"lock_version {change.lock_version} came after {last[change.account_id]}"
            last[change.account_id] = change.lock_version


def unique(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    seen: set[int] = set()
    for event in recording.events:
        if event.position in seen:
            yield f"{event.position} came twice"
        seen.add(event.position)


def reliable(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    came = {event.position for event in recording.events}
    for event in recording.passing(history):
        if came and min(came) < event.position < max(came) and event.position not in came:
            yield f"{event.position} never came"


def atomic(recording: Recording, history: Sequence[Event]) -> Iterator[str]:
    expected = {event.position: event for event in recording.passing(history)}
    for event in recording.events:
        whole = expected.get(event.position)
        if whole is not None and [c.account_id for c in event.changes] != [c.account_id for c in whole.changes]:
            yield f"{event.position} came in part"


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
    for event in recording.events:
        if not event.changes:
            yield f"{event.position} changed nothing"
        for change in event.changes:
            if recording.account_ids and change.account_id not in recording.account_ids:
                yield f"{event.position} came with account {change.account_id}"


GUARANTEES: tuple[Guarantee, ...] = (ordered, unique, reliable, atomic, resumable, bookmarkable, filtered)


def broken(recording: Recording, history: Sequence[Event]) -> dict[str, list[str]]:
    """The guarantees that do not hold, each with what is wrong."""
    found = {guarantee.__name__: list(guarantee(recording, history)) for guarantee in GUARANTEES}
    return {name: findings for name, findings in found.items() if findings}
