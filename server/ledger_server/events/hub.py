"""The hub: all streams of this process, one tailer for each ledger that somebody watches.

What a stream goes through, in order:

| step      | what                                                             | where           |
|-----------|------------------------------------------------------------------|-----------------|
| start     | ledger, accounts, epoch and position checked at one moment       | log.read_start  |
| opening   | the snapshot's parts and its end, or a heartbeat                 | under.py        |
| catch-up  | pages of the log, until near its end                             | log.read_page   |
| live      | what the tailer hands out; back to catch-up if read too slowly   | tailer.py       |
| look-ups  | of both what events do not say: metadata, categories, who joins  | lookups.py      |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import count

import structlog

from ledger_server.background import end_tasks
from ledger_server.domain.book import Committed
from ledger_server.domain.errors import DatabaseUnavailable, Internal, ShuttingDown, SlowSubscriber
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.refusals import ledger_not_found
from ledger_server.events import messages
from ledger_server.events.doorbell import Doorbell
from ledger_server.events.log import (
    DATABASE_AWAY,
    Head,
    LogBrokenError,
    Page,
    epoch_changed,
    read_heads,
    read_page,
    read_start,
    seen_at,
)
from ledger_server.events.lookups import Wants, look_up
from ledger_server.events.subscription import PAGE_EVENTS_MAX, Subscription, Watch
from ledger_server.events.tailer import Tailer
from ledger_server.events.under import Part, read_joining, read_watched_at
from ledger_server.storage.pool import Pool, read_pool

log = structlog.get_logger()

POLL_SECONDS = 0.05
POLL_SECONDS_MAX = 1.0
# Heads are not asked for more often than this, however often the doorbell rings.
POLL_INTERVAL_SECONDS = 0.005
# Streams that read tables share the pool with other reads, and leave most of it to them.
CATCH_UPS_MAX = 3
CATCH_UP_BYTES_MAX = 256 * 1024
# How long a message on its way may still take when the server is told to stop.
DRAIN_SECONDS = 0.5


class _StalledError(Exception):
    """The reader has not taken a message in time."""


class Hub:
    """Where streams are opened, and where commits are announced."""

    def __init__(self, dsn: str, pool: Pool, *, with_doorbell: bool = True, stall_seconds: float = 4.0) -> None:
        self._dsn = dsn
        self._pool = pool
        # Tailers and the poll have connections of their own: a stream must not wait behind somebody's long list.
        self._tailers_pool = pool
        self._with_doorbell = with_doorbell
        self._stall_seconds = stall_seconds
        self._doorbell = Doorbell(dsn, self._look)
        self._tailers: dict[int, Tailer] = {}
        self._tasks: dict[Tailer, asyncio.Task[None]] = {}
        self._is_draining = False
        self._look_now = asyncio.Event()
        self._patiences: set[asyncio.Timeout] = set()
        self._catch_ups = asyncio.Semaphore(CATCH_UPS_MAX)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Hub]:
        """Streams work within the block; its end ends those that are left."""
        async with AsyncExitStack() as stack:
            self._tailers_pool = await stack.enter_async_context(read_pool(self._dsn, size_max=2))
            tasks = [asyncio.create_task(self._poll(), name="log-poll")]
            if self._with_doorbell:
                tasks.append(asyncio.create_task(self._doorbell.run(), name="doorbell"))
            try:
                yield self
            finally:
                await self.drain()
                await end_tasks([*tasks, *self._tasks.values()])

    def committed(self, ledger_id: int, committed: Committed) -> None:
        """Called after each commit of this process; cheap, and lost without harm."""
        if tailer := self._tailers.get(ledger_id):
            tailer.hand(committed)
        if self._with_doorbell:
            self._doorbell.ring()

    async def drain(self) -> None:
        """Ends all streams with ShuttingDown and takes no new ones."""
        self._is_draining = True
        for patience in (patience for patience in self._patiences if not patience.expired()):
            patience.reschedule(asyncio.get_running_loop().time() + DRAIN_SECONDS)
        for tailer in list(self._tailers.values()):
            tailer.end(_shutting_down())
        # A turn for the streams to see it before the caller closes what they stand on.
        await asyncio.sleep(0)

    async def deliver(self, watch: Watch, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Writes a stream's messages; raises as `watch`, and SlowSubscriber if one is not taken in `stall_seconds`.

        gRPC's `write` returns when HTTP/2's flow control lets the message go. A peer that does not read takes a few
        megabytes (its own memory, not ours), and nothing after that.
        """
        async with aclosing(self.watch(watch)) as stream:
            async for message in stream:
                try:
                    async with asyncio.timeout(self._stall_seconds) as patience:
                        self._patiences.add(patience)
                        try:
                            await write(message)
                        finally:
                            self._patiences.discard(patience)
                except TimeoutError:
                    await stream.athrow(_StalledError())

    async def watch(self, watch: Watch) -> AsyncGenerator[bytes, None]:
        """A stream: serialized WatchBalancesResponses, or WatchEventsResponses for whole events, until it is closed.

        Close it (`contextlib.aclosing`) to leave at once. Raises LedgerNotFound, also after a deleted ledger's last
        event, AccountNotFound, EpochChanged, PositionInFuture, PositionPruned, SlowSubscriber, ShuttingDown,
        DatabaseUnavailable.
        """
        head = await self._start(watch)
        position = head.position if watch.after_position is None else watch.after_position
        subscription = Subscription(watch, position, head.time)
        tailer = self._enter(watch.ledger_id, head, subscription)
        is_opened = not watch.snapshot
        try:
            if watch.snapshot:
                async with aclosing(self._snapshot(watch, subscription, head)) as parts:
                    async for message in parts:
                        yield message
            else:
                yield messages.heartbeat(position, head.epoch, head.time, head.position - position)
            is_opened, heard_at = True, time.monotonic()
            while True:
                if subscription.error is not None:
                    raise subscription.error
                if subscription.is_behind and not tailer.join(subscription):
                    sendable = await self._catch_up(tailer, subscription)
                else:
                    sendable = subscription.take()
                async with aclosing(self._packed(watch, tailer, sendable)) as packed:
                    async for position, message in packed:
                        yield message
                        subscription.position = max(subscription.position, position)
                        heard_at = time.monotonic()
                if tailer.is_finished and not (sendable or subscription.is_behind or subscription.has_waiting):
                    raise ledger_not_found(watch.ledger_id)
                silence_seconds = time.monotonic() - heard_at
                if silence_seconds >= watch.heartbeat_seconds and not subscription.has_waiting:
                    yield _heartbeat(tailer, subscription)
                    heard_at = time.monotonic()
                elif not sendable:
                    await subscription.wait(watch.heartbeat_seconds - silence_seconds)
        except _StalledError:
            if subscription.error is not None:
                raise subscription.error from None
            raise self._slow(subscription.position if is_opened else None) from None
        finally:
            self._leave(tailer, subscription)

    def _slow(self, position: int | None) -> SlowSubscriber:
        """From a position nothing is lost; there is none within a snapshot, whose rest is nowhere else."""
        again = "with a new snapshot" if position is None else "from the last position"
        return SlowSubscriber(
            f"nothing was taken for {self._stall_seconds:g} s; watch again {again}",
            metadata={} if position is None else {"position": str(position)},
            retry_seconds=1.0,
        )

    async def _start(self, watch: Watch) -> Head:
        async with self._reading():
            return await read_start(self._pool, watch)

    def _enter(self, ledger_id: int, head: Head, subscription: Subscription) -> Tailer:
        """The ledger's tailer, started if this is the first subscription. Nothing is awaited between look and entry."""
        if self._is_draining:
            raise _shutting_down()
        tailer = self._tailers.get(ledger_id)
        if tailer is None or tailer.is_over or tailer.epoch != head.epoch:
            if tailer is not None:
                tailer.end(epoch_changed(head.epoch))
            tailer = self._tailers[ledger_id] = Tailer(self._tailers_pool, ledger_id, head)
            self._tasks[tailer] = asyncio.create_task(tailer.run(), name=f"tailer-{ledger_text(ledger_id)}")
            self._look()
        tailer.enter(subscription)
        return tailer

    def _leave(self, tailer: Tailer, subscription: Subscription) -> None:
        tailer.exit(subscription)
        if not tailer.subscriptions:
            if self._tailers.get(tailer.ledger_id) is tailer:
                del self._tailers[tailer.ledger_id]
            self._tasks.pop(tailer).cancel()

    async def _snapshot(self, watch: Watch, subscription: Subscription, head: Head) -> AsyncGenerator[bytes, None]:
        read = read_watched_at(self._pool, watch, head.position)
        async with aclosing(self._parts(watch, read)) as parts:
            async for part in parts:
                if subscription.error is not None:
                    raise subscription.error
                yield messages.snapshot_part(head.position, head.epoch, part.accounts, part.categories)
        yield messages.snapshot_complete(head.position, head.epoch)

    async def _parts(self, watch: Watch, read: AsyncIterator[Part]) -> AsyncGenerator[Part, None]:
        """Parts of a snapshot, each read in a turn of its own; an empty one where a heartbeat is due meanwhile."""

        async def read_next() -> Part | None:
            async with self._reading():
                return await anext(read, None)

        while True:
            reading = asyncio.create_task(read_next(), name="snapshot-part")
            try:
                while not (await asyncio.wait([reading], timeout=watch.heartbeat_seconds))[0]:
                    yield Part()
            finally:
                await end_tasks([reading])
            part = reading.result()
            if part is None:
                return
            yield part

    async def _packed(
        self, watch: Watch, tailer: Tailer, deliveries: list[messages.Delivery]
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Messages of what is due, each with its last position."""
        pack = messages.conflated if watch.conflate else messages.responses
        due: list[messages.Delivery] = []
        for delivery in deliveries:
            if delivery.joining is not None:
                for packed in pack(due):
                    yield packed
                due = []
                async with aclosing(self._joining(watch, delivery.joining, tailer.epoch)) as joining:
                    async for message in joining:
                        yield delivery.position - 1, message
            if delivery.event:
                due.append(delivery)
        for packed in pack(due):
            yield packed

    async def _joining(self, watch: Watch, joining: messages.Joining, epoch: str) -> AsyncGenerator[bytes, None]:
        """A snapshot of the accounts that join by an event.

        It is of the position before, so that whoever resumes from it gets the joining again.
        """
        position = joining.position - 1
        read = read_joining(self._pool, watch.ledger_id, joining)
        async with aclosing(self._parts(watch, read)) as parts:
            async for part in parts:
                yield messages.snapshot_part(position, epoch, part.accounts)
        yield messages.snapshot_complete(position, epoch)

    async def _catch_up(self, tailer: Tailer, subscription: Subscription) -> list[messages.Delivery]:
        """What passes the filter of the log's next page; live from there on if that is near enough to its end.

        Nothing, if that took too long though the database answers others: the next page has half as many events.
        """
        async with self._reading():
            if subscription.error is not None:
                raise subscription.error
            size = subscription.page_events_max
            try:
                page = await read_page(self._pool, tailer.ledger_id, subscription.cursor, size, CATCH_UP_BYTES_MAX)
                size = len(page.payloads)
                found = _parse(page, subscription)
                events = [each for each in found if isinstance(each, messages.LoggedEvent)]
                await look_up(self._pool, tailer.ledger_id, events, Wants(subscription.watch))
            except TimeoutError:
                if size < 2 or not tailer.hears_of_database:
                    raise
                log.warning(
                    "page_took_too_long",
                    ledger_id=ledger_text(tailer.ledger_id),
                    position=subscription.cursor,
                    events=size,
                )
                subscription.page_events_max = size // 2
                return []
        subscription.page_events_max = min(2 * subscription.page_events_max, PAGE_EVENTS_MAX)
        if page.head.epoch != tailer.epoch:
            raise epoch_changed(page.head.epoch)
        subscription.cursor, subscription.time = page.last_position, seen_at(page)
        tailer.saw(page.head)
        due = [
            delivery
            for each in found
            if (delivery := each if isinstance(each, messages.Delivery) else subscription.select(each))
        ]
        tailer.join(subscription)
        return due

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """A turn with the pool."""
        async with self._catch_ups:
            try:
                yield
            except DATABASE_AWAY as error:
                what = "does not answer in time" if isinstance(error, TimeoutError) else "is unavailable"
                raise DatabaseUnavailable(f"the database {what}; watch again", retry_seconds=1.0) from error
            except LogBrokenError:
                log.exception("log_broken")
                raise Internal("internal error; watch again from the last position") from None

    def _look(self) -> None:
        self._look_now.set()

    async def _poll(self) -> None:
        """Asks for the heads of all watched ledgers, at each ring of the doorbell and regularly without."""
        is_lost, pause_seconds = False, POLL_SECONDS
        while True:
            try:
                async with asyncio.timeout(pause_seconds if self._tailers else None):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            if not self._tailers:
                continue
            watched = list(self._tailers.values())
            asked_at = time.monotonic()
            try:
                heads = await read_heads(self._tailers_pool, [tailer.ledger_id for tailer in watched])
            except Exception as error:
                if not is_lost:
                    log.warning("log_poll_waits", exc_info=None if isinstance(error, DATABASE_AWAY) else error)
                is_lost = True
                await asyncio.sleep(POLL_SECONDS)
                continue
            is_lost = False
            # Where asking takes long, many ledgers being watched, it is done less often.
            pause_seconds = min(max(POLL_SECONDS, 10 * (time.monotonic() - asked_at)), POLL_SECONDS_MAX)
            for tailer in watched:
                if head := heads.get(tailer.ledger_id):
                    tailer.saw(head)
                else:
                    tailer.end(ledger_not_found(tailer.ledger_id))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)


def _parse(page: Page, subscription: Subscription) -> list[messages.Delivery | messages.LoggedEvent]:
    """What a subscription may want of a page. Reading an event costs as much as making it, and who filters nothing does
    without.
    """
    first = page.last_position - len(page.payloads) + 1
    return [
        messages.Delivery(position, payload)
        if of_moves and subscription.filters_nothing
        else messages.LoggedEvent(payload)
        for position, payload, of_moves in zip(count(first), page.payloads, page.of_moves, strict=False)
        if subscription.may_want(payload)
    ]


def _heartbeat(tailer: Tailer, subscription: Subscription) -> bytes:
    """Where the reader may resume; for a live one with nothing waiting, as far as the tailer has handed out."""
    position, stood_there_at = subscription.cursor, subscription.time
    if not subscription.is_behind and tailer.position >= position:
        position, stood_there_at = tailer.position, tailer.time
    subscription.position = position
    return messages.heartbeat(position, tailer.epoch, stood_there_at, tailer.lag(position))


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the server is shutting down; watch again from the last position", retry_seconds=0.1)
