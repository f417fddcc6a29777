"""The tailer of one ledger: reads each new event once and hands it to the subscriptions that want it.

lanes ── hand(commit) ─────┐
doorbell, poll → saw(head) ┴→ the page after `position` ──→ look_up ──→ fan out ──→ subscriptions' buffers
                              of the commits, else of the table

The fan-out goes by account, by category and by pair of metadata, so an event costs what the subscriptions that want it
cost, and nothing for all the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain, count, repeat
from typing import TypeVar

import structlog

from ledger_server.domain.book import Committed
from ledger_server.domain.errors import Internal, LedgerError
from ledger_server.domain.ids import ledger_text
from ledger_server.events.log import DATABASE_AWAY, Head, Page, epoch_changed, read_page, seen_at
from ledger_server.events.lookups import Wants, look_up
from ledger_server.events.messages import Delivery, LoggedEvent
from ledger_server.events.stored import unpack
from ledger_server.events.subscription import Subscription, Watch
from ledger_server.storage.pool import Pool

log = structlog.get_logger()

PAGE_EVENTS_MAX = 500
PAGE_BYTES_MAX = 1024 * 1024
# Commits of a busy ledger that come closer together than this are read together.
READ_INTERVAL_SECONDS = 0.005
BACKOFF_SECONDS_MAX = 1.0
# The newest events are kept, so that whoever comes from the table need not hit the very end of a moving log.
# Fewer than a subscription's buffer holds: it must be able to take all of them.
RECENT_EVENTS_MAX = 256
RECENT_BYTES_MAX = 128 * 1024
COMMITTED_MAX = 100
# So long what the database said of the log's end is believed; it is asked at least once a second.
SEEN_SECONDS = 3.0

_Key = TypeVar("_Key", str, tuple[str, str])


class Tailer:
    """Follows one ledger's log from a head on, for as long as `run` runs."""

    def __init__(self, pool: Pool, ledger_id: int, head: Head) -> None:
        self.ledger_id = ledger_id
        self.epoch = head.epoch
        # All events up to here were handed out; the ledger was seen to stand here at `time`.
        self.position = head.position
        self.time = head.time
        self.head_position = head.position
        self._seen_at = time.monotonic()
        self.subscriptions: set[Subscription] = set()
        # Of all of them, not of the live ones only: so whoever becomes live finds the newest events looked up.
        self._wants = Wants()
        self.is_over = False
        # Whether the ledger is deleted and its last event handed out.
        self.is_finished = False
        self._pool = pool
        self._whole_ledger: set[Subscription] = set()
        self._by_subject: dict[str, set[Subscription]] = {}
        # Those of the whole ledger that ask for metadata, each by one of its pairs.
        self._by_pair: dict[tuple[str, str], set[Subscription]] = {}
        self._recent: deque[LoggedEvent] = deque()
        self._recent_bytes = 0
        # Commits of this process in their order, perhaps with others' in between.
        self._committed: deque[Committed] = deque()
        self._news = asyncio.Event()
        # Something may have been committed since the head was read.
        self._news.set()

    def hand(self, committed: Committed) -> None:
        """This process has committed; its events need not be read again if they follow on those handed out."""
        if committed.position <= self.position:
            return
        self.head_position = max(self.head_position, committed.position)
        if committed.epoch == self.epoch and len(committed.events) <= PAGE_EVENTS_MAX:
            self._committed.append(committed)
            if len(self._committed) > COMMITTED_MAX:
                # Too busy to keep up; the table has them all.
                self._committed.clear()
        self._news.set()

    @property
    def hears_of_database(self) -> bool:
        """Whether the database has said of late where the log ends."""
        return time.monotonic() - self._seen_at < SEEN_SECONDS

    def lag(self, position: int) -> int | None:
        """How many events there are behind a position; None if the database has not said so of late."""
        return max(0, self.head_position - position) if self.hears_of_database else None

    def saw(self, head: Head) -> None:
        """The database says where the log ends."""
        self._seen_at = time.monotonic()
        if head.epoch != self.epoch:
            self.end(epoch_changed(head.epoch))
        elif head.position == self.position:
            self.time = max(self.time, head.time)
            self._finish(head)
        else:
            # Also if it is lower: usually a head that was read before and arrives late, but the next page will tell.
            self.head_position = max(self.head_position, head.position)
            self._news.set()

    def enter(self, subscription: Subscription) -> None:
        """One subscription more, though it is not live yet."""
        self.subscriptions.add(subscription)
        self._wants.add(subscription.watch)

    def exit(self, subscription: Subscription) -> None:
        """One subscription less."""
        self.leave(subscription)
        self.subscriptions.discard(subscription)
        self._wants.add(subscription.watch, -1)

    def join(self, subscription: Subscription) -> bool:
        """Makes a subscription live, with neither gap nor duplicate, if it is near enough to the end of the log.

        Nothing is awaited here, so no event can be handed out between the look and the entry.
        """
        cursor = subscription.cursor
        if cursor < self.position and not (self._recent and self._recent[0].position <= cursor + 1):
            return False
        recent = [event for event in self._recent if event.position > cursor]
        if any(self._wants.lack(event) for event in recent):
            return False
        subscription.is_behind = False
        watch = subscription.watch
        if subscription.subject_ids:
            for subject_id in subscription.subject_ids:
                self._by_subject.setdefault(subject_id, set()).add(subscription)
        elif watch.transaction_metadata:
            self._by_pair.setdefault(_pair(watch), set()).add(subscription)
        else:
            self._whole_ledger.add(subscription)
        for event in recent:
            if delivery := subscription.select(event):
                self._offer(subscription, delivery)
        return not subscription.is_behind

    def leave(self, subscription: Subscription) -> None:
        """Takes a subscription out of the fan-out; nothing happens if it is not in it."""
        self._whole_ledger.discard(subscription)
        for subject_id in subscription.subject_ids:
            _discard(self._by_subject, subject_id, subscription)
        if subscription.watch.transaction_metadata:
            _discard(self._by_pair, _pair(subscription.watch), subscription)

    def end(self, error: LedgerError) -> None:
        """Ends all its streams; a later one needs another tailer."""
        self.is_over = True
        for subscription in self.subscriptions:
            subscription.end(error)

    async def run(self) -> None:
        """Until cancelled. A database that is away is waited for; anything else ends the streams."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._read_on()
                await asyncio.sleep(READ_INTERVAL_SECONDS)
        except LedgerError as error:
            self.end(error)
        except Exception:
            log.exception("tailer_failed", ledger_id=ledger_text(self.ledger_id), position=self.position)
            self.end(Internal("internal error; watch again from the last position"))

    async def _read_on(self) -> None:
        """Hands out all there is after `position`."""
        backoff_seconds = 0.05
        events_max = PAGE_EVENTS_MAX
        while True:
            size = events_max
            try:
                page = self._take_committed() or await read_page(
                    self._pool, self.ledger_id, self.position, events_max, PAGE_BYTES_MAX
                )
                size = len(page.payloads)
                events = [LoggedEvent(payload) for payload in page.payloads]
                # Again, if somebody came in between who may be live by now and wants more.
                while any(self._wants.lack(event) for event in events):
                    await look_up(self._pool, self.ledger_id, events, self._wants)
            except DATABASE_AWAY as error:
                log.warning("tailer_waits", ledger_id=ledger_text(self.ledger_id), error=type(error).__name__)
                if isinstance(error, TimeoutError):
                    events_max = max(1, size // 2)
                await asyncio.sleep(backoff_seconds * random.uniform(0.5, 1.0))
                backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)
                continue
            if page.head.epoch != self.epoch:
                raise epoch_changed(page.head.epoch)
            self._hand_out(page, events)
            events_max = min(2 * events_max, PAGE_EVENTS_MAX)
            if self.position == page.head.position:
                return
            # Whoever writes to the network gets a turn between pages.
            await asyncio.sleep(0)

    def _take_committed(self) -> Page | None:
        """The next page, if this process has committed what follows: positions are dense, so that is certain."""
        while self._committed:
            committed = self._committed[0]
            known = self.position - committed.position + len(committed.events)
            if known < 0:
                return None
            self._committed.popleft()
            if events := committed.events[known:]:
                payloads = list(map(unpack, count(self.position + 1), repeat(committed.time), events))
                head = Head(max(self.head_position, committed.position), committed.epoch, committed.time)
                return Page(payloads, committed.position, committed.time, head)
        return None

    def _hand_out(self, page: Page, events: Sequence[LoggedEvent]) -> None:
        for event in events:
            assert event.position == self.position + 1, f"{event.position} after {self.position}"
            self._fan_out(event)
            self._remember(event)
            self.position = event.position
        self.head_position = max(self.head_position, page.head.position)
        self.time = max(self.time, seen_at(page))
        self._finish(page.head)

    def _finish(self, head: Head) -> None:
        """After the last event of a deleted ledger; each subscription ends when it has got all that waits for it."""
        if head.is_deleted and head.position == self.position and not self.is_finished:
            self.is_finished = True
            for subscription in self.subscriptions:
                subscription.wake()

    def _fan_out(self, event: LoggedEvent) -> None:
        found: dict[Subscription, list[int]] = {}
        for n, keys in enumerate(event.change_keys()):
            for key in keys:
                for subscription in self._by_subject.get(key, ()):
                    changes = found.setdefault(subscription, [])
                    # An account may be under several categories of one subscription.
                    if not changes or changes[-1] != n:
                        changes.append(n)
        for key in event.named_ids:
            for subscription in self._by_subject.get(key, ()):
                found.setdefault(subscription, [])
        wanted: dict[Subscription, Sequence[int]] = {**found}
        every = range(len(event.subject_ids))
        pairs = chain(*(metadata.items() for metadata in event.metadata or ())) if self._by_pair else ()
        for subscription in chain(self._whole_ledger, *(self._by_pair.get(pair, ()) for pair in pairs)):
            wanted[subscription] = every
        for subscription, chosen in wanted.items():
            if delivery := subscription.accept(event, chosen):
                self._offer(subscription, delivery)

    def _offer(self, subscription: Subscription, delivery: Delivery) -> None:
        subscription.offer(delivery)
        if subscription.is_behind:
            self.leave(subscription)

    def _remember(self, event: LoggedEvent) -> None:
        self._recent.append(event)
        self._recent_bytes += len(event.payload)
        while len(self._recent) > RECENT_EVENTS_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            self._recent_bytes -= len(self._recent.popleft().payload)


def _pair(watch: Watch) -> tuple[str, str]:
    """One of the pairs that a transaction's metadata must hold."""
    return min(watch.transaction_metadata.items())


def _discard(index: dict[_Key, set[Subscription]], key: _Key, subscription: Subscription) -> None:
    if there := index.get(key):
        there.discard(subscription)
        if not there:
            del index[key]
