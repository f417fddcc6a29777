"""Callers who write without pause, and remember what they were told."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

from ledger_client import (
    Account,
    Contention,
    Event,
    Heartbeat,
    Internal,
    LedgerClient,
    LedgerError,
    Overloaded,
    Transaction,
    Unknown,
    condition,
    credit,
    debit,
    new_request_id,
)
from ledger_client.errors import Cancelled, DeadlineExceeded, Unavailable
from ledger_client.v1.transactions_pb2 import EntryInput
from tests.faults.history import Call, History, Outcome, Recorded
from tests.guarantees import Recording, Session, broken
from tests.patience import PATIENCE_SECONDS

# The client's own repeats would hide what a caller without them is told.
NO_RETRIES: Mapping[str, str | int] = {"grpc.enable_retries": 0}
UNKNOWN = (Unavailable, DeadlineExceeded, Cancelled, Contention)
OUT_OF_REACH = 10**15

Write = Callable[[LedgerClient, str], Awaitable[Transaction]]


class Traffic:
    """Writers on one ledger, spread over the servers; one caller in ten is refused by a condition that cannot hold."""

    def __init__(self, clients: Sequence[LedgerClient], accounts: Sequence[Account], seed: int) -> None:
        self.clients = clients
        self.accounts = accounts
        self.history = History(accounts[0].ledger_id)
        self.bugs: list[str] = []
        self.overloaded = 0
        self.recording = Recording(sessions=[Session(0)])
        self.answered: list[tuple[float, float]] = []
        """When each successful call began and when it was answered, by the monotonic clock."""
        self._chance = random.Random(seed)
        self._writes: dict[str, Write] = {}
        self._pending: list[str] = []

    @property
    def acknowledged(self) -> int:
        return len(self.answered)

    @asynccontextmanager
    async def running(self, callers: int = 16) -> AsyncIterator[None]:
        """So many callers write within the block, one call after the other; those under way then end first."""
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(self._write_until(over, random.Random(self._chance.random()))) for _ in range(callers)
        ]
        try:
            yield
            over.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def watched(self, client: LedgerClient) -> AsyncIterator[None]:
        """Records a stream of all balances from the beginning, until it has reached what was written in the block."""
        session = self.recording.sessions[0]

        async def record() -> None:
            async with client.watch_balances(
                self.history.ledger_id, after_position=0, heartbeat_interval=0.2
            ) as stream:
                async for message in stream:
                    assert isinstance(message, Event | Heartbeat)
                    session.messages.append(message)

        task = asyncio.create_task(record())
        try:
            yield
            head = (await client.get_ledger(self.history.ledger_id, timeout=PATIENCE_SECONDS)).position
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (session.messages and session.messages[-1].position >= head) and not task.done():
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception):
                self.bugs.append(f"the stream ended with {ended!r}")

    def stream_findings(self, recorded: Recorded) -> list[str]:
        """The guarantees of streams that the recorded one broke, and whether it came to the end."""
        found = [f"stream not {name}: {said[0]}" for name, said in broken(self.recording, recorded.events).items()]
        if [e.position for e in self.recording.events] != [e.position for e in self.recording.passing(recorded.events)]:
            found.append("the stream is not the history")
        return found

    async def until_acknowledged(self, more: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for so many more successes."""
        goal = self.acknowledged + more
        async with asyncio.timeout(seconds):
            while self.acknowledged < goal:
                await asyncio.sleep(0.005)

    async def recovered_after(self, healed_at: float, seconds: float = PATIENCE_SECONDS) -> float:
        """How long after a moment of the monotonic clock the first call begun since was answered with success."""
        seen = bisect_left(self.answered, healed_at, key=lambda answer: answer[1])
        async with asyncio.timeout(seconds):
            while True:
                for began, ended in self.answered[seen:]:
                    if began >= healed_at:
                        return ended - healed_at
                seen = len(self.answered)
                await asyncio.sleep(0.005)

    def longest_silence(self, since: float) -> float:
        """The longest time without a success from that moment of the monotonic clock until now."""
        answers = self.answered[bisect_left(self.answered, since, key=lambda answer: answer[1]) :]
        moments = [since, *(ended for _, ended in answers), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(moments))

    async def settle(self) -> None:
        """Asks again whatever is unknown, with the same request_id, until it is known; then repeats some others."""
        unknown = self.history.of(Outcome.UNKNOWN)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(self._settle(call) for call in unknown))
        for outcome in (Outcome.ACKNOWLEDGED, Outcome.REFUSED):
            told = self.history.of(outcome)
            for call in self._chance.sample(told, min(len(told), 20)):
                await self._repeat(call)

    async def _settle(self, call: Call) -> None:
        while call.outcome is Outcome.UNKNOWN:
            await self.ask(self._chance.choice(self.clients), call)
            if call.outcome is Outcome.UNKNOWN:
                await asyncio.sleep(self._chance.uniform(0.02, 0.2))

    async def _repeat(self, told: Call) -> None:
        """The answer to a repetition is the first one."""
        again = Call(told.key, told.request_id)
        await self._settle_as(again)
        if (again.outcome, again.position, again.transaction_id) != (told.outcome, told.position, told.transaction_id):
            self.bugs.append(f"{told} was repeated and answered as {again}")

    async def _settle_as(self, call: Call) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while call.outcome is Outcome.UNKNOWN:
                await self.ask(self._chance.choice(self.clients), call)

    async def _write_until(self, over: asyncio.Event, chance: random.Random) -> None:
        while not over.is_set():
            call = self.new_call(chance)
            await self.ask(chance.choice(self.clients), call)
            if call.outcome is Outcome.UNKNOWN:
                # Somebody who waits a little, so that an absent server does not make millions of unknowns.
                await asyncio.sleep(chance.uniform(0.02, 0.1))
            else:
                # Refusals by gRPC's core can come without a turn of the loop.
                await asyncio.sleep(0)

    def new_call(self, chance: random.Random) -> Call:
        """A call that nobody has made yet."""
        request_id = new_request_id()
        call = Call(f"call-{request_id}", request_id)
        kind = chance.random()
        one, other = chance.sample(list(self.accounts), 2)
        amount = chance.randrange(1, 1_000)
        if kind < 0.1 and self._pending:
            self._writes[request_id] = _posting(self.history.ledger_id, self._pending.pop())
        else:
            demanded = [condition("posted", ">=", OUT_OF_REACH)] if 0.1 <= kind < 0.2 else []
            entries = [debit(one, amount, conditions=demanded), credit(other, amount)]
            self._writes[request_id] = _creation(self.history.ledger_id, call.key, entries, is_posted=kind > 0.3)
        self.history.calls.append(call)
        return call

    async def ask(self, client: LedgerClient, call: Call) -> None:
        """Makes a call, or makes it again, and writes down what was said."""
        began = time.monotonic()
        try:
            written = await self._writes[call.request_id](client, call.request_id)
        except UNKNOWN as error:
            call.said = str(error)
        except Overloaded as error:
            # Refused at the door, so free to be asked again: unknown is what a caller makes of it.
            call.said = str(error)
            self.overloaded += 1
            await asyncio.sleep(error.retry_delay.total_seconds() if error.retry_delay else 0.1)
        except LedgerError as error:
            call.said = str(error)
            if isinstance(error, Internal | Unknown):
                self.bugs.append(f"{call.key}: {error!r}")
                return
            call.outcome = Outcome.REFUSED
        else:
            call.outcome = Outcome.ACKNOWLEDGED
            call.position, call.transaction_id = written.position, written.id
            self.answered.append((began, time.monotonic()))
            if written.status == 1:
                self._pending.append(written.id)


def _creation(ledger_id: str, key: str, entries: Sequence[EntryInput], *, is_posted: bool) -> Write:
    async def write(client: LedgerClient, request_id: str) -> Transaction:
        return await client.create_transaction(
            ledger_id,
            entries,
            status="posted" if is_posted else "pending",
            description=key,
            request_id=request_id,
        )

    return write


def _posting(ledger_id: str, transaction_id: str) -> Write:
    async def write(client: LedgerClient, request_id: str) -> Transaction:
        return await client.post_transaction(ledger_id, transaction_id, request_id=request_id)

    return write


@asynccontextmanager
async def new_traffic(
    addresses: Sequence[str], seed: int, *, accounts: int = 10, timeout: float = 10.0
) -> AsyncIterator[Traffic]:
    """Traffic on a new ledger with so many accounts, with a client for each address."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(LedgerClient(address, options=NO_RETRIES, timeout=timeout))
            for address in addresses
        ]
        ledger = await clients[0].create_ledger(f"faults {seed}")
        made = [
            await clients[0].create_account(
                ledger.id, str(n), normal_balance="debit" if n % 2 else "credit", currency="USD"
            )
            for n in range(accounts)
        ]
        yield Traffic(clients, made, seed)
