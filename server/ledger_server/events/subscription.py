"""One reader of a ledger's log: what it wants, how far it is, and what waits for it.

A subscription is either *live* (the tailer offers it every event that passes its filter) or *behind* (it reads the
log by itself). It is behind when it starts, and again when its buffer is full: then the buffer is dropped, for the
table still has everything, and memory stays bounded however slowly somebody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger_server.domain.errors import LedgerError
from ledger_server.events.messages import Delivery, LoggedEvent

# Bytes are counted as if each subscriber had its own; those of whole events are in fact shared.
BUFFER_EVENTS_MAX = 1_000
BUFFER_BYTES_MAX = 256 * 1024
# So many events it takes from the log at once, or fewer where that takes too long.
PAGE_EVENTS_MAX = 1_000
# A filter of so few ids is first looked for in an event's bytes, which is cheaper than parsing them.
_NEEDLES_MAX = 8


@dataclass(frozen=True, slots=True)
class Watch:
    """What a caller asks for. No account_ids and no category_ids: the whole ledger. No epoch: it is not checked.

    whole_events: events with all they say, also those that move no balance; else only the changes that pass the filter.
        Where kinds are named, and nothing is folded, their events are told whether they have any or not.
    kinds: numbers of EventKind; none: all. transaction_metadata: pairs that the transaction's must hold, if any; of a
        partial post that of the posted or of the pending one.
    conflate: events that wait together are folded into one message.
    """

    ledger_id: int
    account_ids: frozenset[str] = frozenset()
    category_ids: frozenset[str] = frozenset()
    whole_events: bool = False
    kinds: frozenset[int] = frozenset()
    transaction_metadata: Mapping[str, str] = field(default_factory=dict)
    after_position: int | None = None
    epoch: str = ""
    snapshot: bool = False
    heartbeat_seconds: float = 10.0
    conflate: bool = False

    @property
    def subject_ids(self) -> frozenset[str]:
        """The accounts and categories that are watched; none: the whole ledger."""
        return self.account_ids | self.category_ids


class Subscription:
    """A reader's place in the log.

    position: everything up to here that passes the filter was handed to the reader.
    cursor: everything up to here was taken from the log by the subscription itself, or did not pass; what is live is
        not counted. The ledger stood there at `time`.
    page_events_max: as many events it takes from the log next time.
    """

    def __init__(self, watch: Watch, position: int, time: datetime) -> None:
        self.watch = watch
        self.subject_ids = watch.subject_ids
        self.position = position
        self.cursor = position
        self.time = time
        self.page_events_max = PAGE_EVENTS_MAX
        self.is_behind = True
        self.error: LedgerError | None = None
        self.filters_nothing = not (self.subject_ids or watch.kinds or watch.transaction_metadata)
        self._needles = [id_.encode() for id_ in self.subject_ids] if len(self.subject_ids) <= _NEEDLES_MAX else []
        self._buffer: list[Delivery] = []
        self._buffer_bytes = 0
        self._news = asyncio.Event()

    def may_want(self, payload: bytes) -> bool:
        """False only if nothing of an event passes the filter, for all that its bytes say."""
        return not self._needles or any(needle in payload for needle in self._needles)

    def select(self, event: LoggedEvent) -> Delivery | None:
        """What passes the filter of an event, if anything."""
        changes = event.find(self.subject_ids) if self.subject_ids else range(len(event.subject_ids))
        return None if changes is None else self.accept(event, changes)

    def accept(self, event: LoggedEvent, changes: Sequence[int]) -> Delivery | None:
        """As `select`, where the subjects pass already: those of these changes, or what the event is about."""
        watch, told, joining = self.watch, b"", None
        if event.joining is not None and not watch.whole_events:
            # Who joins is announced whatever else is asked for.
            joining = None if watch.category_ids.isdisjoint(event.joined_category_ids) else event.joining
        if self._asks_for(event):
            if watch.whole_events:
                told = event.payload
            elif changes or (watch.kinds and not watch.conflate):
                told = event.select(changes)
        return Delivery(event.position, told, joining) if told or joining else None

    def _asks_for(self, event: LoggedEvent) -> bool:
        kinds, pairs = self.watch.kinds, self.watch.transaction_metadata
        if kinds and event.kind not in kinds:
            return False
        return not pairs or any(pairs.items() <= metadata.items() for metadata in event.metadata or ())

    def offer(self, delivery: Delivery) -> None:
        """Takes a live event; if there is no room left, the subscription falls behind."""
        if self.is_behind or delivery.position <= self.cursor:
            return
        self._buffer.append(delivery)
        self._buffer_bytes += len(delivery.event)
        if len(self._buffer) > BUFFER_EVENTS_MAX or self._buffer_bytes > BUFFER_BYTES_MAX:
            self.cursor = self._buffer[0].position - 1
            self.is_behind = True
            self.take()
        self._news.set()

    def take(self) -> list[Delivery]:
        """Empties the buffer."""
        taken, self._buffer, self._buffer_bytes = self._buffer, [], 0
        return taken

    @property
    def has_waiting(self) -> bool:
        return bool(self._buffer)

    def end(self, error: LedgerError) -> None:
        """Ends the stream with this error as soon as its reader looks."""
        self.error = self.error or error
        self._news.set()

    def wake(self) -> None:
        """Lets its reader look again."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until there is something to do, at most so long."""
        if not self._buffer and not self.is_behind and self.error is None:
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                pass
