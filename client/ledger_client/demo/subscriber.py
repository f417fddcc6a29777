"""Somebody else who is interested: told of each change as it is committed, over a stream of balances."""

import asyncio
from collections.abc import Callable, Mapping

from rich.console import Console

from ledger_client.demo import picture, story
from ledger_client.demo.checks import Checks
from ledger_client.demo.story import State
from ledger_client.v1.streams_pb2 import Event, EventKind, Heartbeat
from ledger_client.watch import BalanceStream, Snapshot

_PATIENCE_SECONDS = 15.0
_KINDS = {"create": EventKind.EVENT_KIND_TRANSACTION_CREATED, "post": EventKind.EVENT_KIND_TRANSACTION_POSTED}


class Subscriber:
    """Shows what the stream tells, and keeps it."""

    def __init__(self, stream: BalanceStream, console: Console, names: Mapping[str, str]) -> None:
        self._stream = stream
        self._console = console
        self._names = names
        self._snapshot: Snapshot | None = None
        self._events: list[Event] = []
        self._moved = asyncio.Condition()
        self._heartbeats = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        async for message in self._stream:
            match message:
                case Snapshot():
                    self._snapshot = message
                case Event():
                    self._events.append(message)
                    picture.arrived(self._console, message, self._names)
                case Heartbeat():
                    self._heartbeats += 1
            async with self._moved:
                self._moved.notify_all()

    async def reached(self, position: int, watching: asyncio.Task[None]) -> None:
        """Wait until this one has arrived."""
        await self._wait(watching, lambda: (self._stream.position or 0) >= position)

    async def silence(self, watching: asyncio.Task[None]) -> None:
        """Wait for two heartbeats more: whatever was told twice has come by then."""
        wanted = self._heartbeats + 2
        await self._wait(watching, lambda: self._heartbeats >= wanted)

    async def _wait(self, watching: asyncio.Task[None], until: Callable[[], bool]) -> None:
        async def wait() -> None:
            async with self._moved:
                await self._moved.wait_for(until)

        waiting = asyncio.create_task(wait())
        await asyncio.wait({waiting, watching}, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return
        waiting.cancel()
        if watching.done():
            watching.result()  # raises what ended it
        raise TimeoutError(f"the subscriber heard nothing more within {_PATIENCE_SECONDS:g} s")

    def compare(self, checks: Checks) -> None:
        """Every change of the story was told once, in order, with the balances before and after it."""
        names = self._names
        start = len(story.ACCOUNTS)  # each account's creation was an event
        snapshot = self._snapshot
        checks.equal("position of the snapshot", snapshot.position if snapshot else None, start)
        for id_, account in snapshot.accounts.items() if snapshot else ():
            name = names.get(id_, id_)
            checks.state(f"{name} in the snapshot", account.balances, account.lock_version, story.BEGINNING[name])
        told = [event.position for event in self._events]
        checks.equal("positions told", told, list(range(start + 1, start + 1 + len(story.STEPS))))
        state: dict[str, State] = dict(story.BEGINNING)
        for event, step in zip(self._events, story.STEPS, strict=False):
            where = f"told at position {event.position}"
            checks.equal(f"kind {where}", event.kind, _KINDS[step.command])
            checks.equal(
                f"accounts {where}", sorted(names[change.account_id] for change in event.changes), sorted(step.after)
            )
            for change in event.changes:
                name = names[change.account_id]
                checks.balances(f"{name} before, {where}", change.before, state[name])
                if name in step.after:
                    state[name] = step.after[name]
                checks.state(f"{name} after, {where}", change.after, change.lock_version, state[name])
