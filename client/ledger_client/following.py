"""Following balances: a local dictionary that is kept current by a stream, through lost connections and all."""

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Self

from ledger_client.errors import StreamGap
from ledger_client.v1.balances_pb2 import Balances
from ledger_client.v1.streams_pb2 import AccountBalances, ConflatedChanges, Event
from ledger_client.watch import BalanceStream, Snapshot, WatchCalls, WatchMessage

DEFAULT_HEARTBEAT_SECONDS = 1.0


class FollowedBalances:
    """Balances as they stand, within ``async with``.

    All of them always stand at one position: what a command changed is applied at once. When they cannot be kept
    current any longer, because a change is missing, the database was restored, or there is no way to resume,
    reading them raises that error rather than telling what is no longer so.
    """

    def __init__(self, stream: BalanceStream) -> None:
        self._stream = stream
        self._balances: dict[str, AccountBalances] = {}
        self._position = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    @property
    def balances(self) -> Mapping[str, AccountBalances]:
        """By account id; a live view. An account that is created later is in it from its first movement on."""
        self._raise_if_lost()
        return MappingProxyType(self._balances)

    @property
    def position(self) -> int:
        """Where all of ``balances`` stand."""
        self._raise_if_lost()
        return self._position

    @property
    def epoch(self) -> str:
        """The epoch of ``position``."""
        return self._stream.epoch

    async def reached(self, position: int, *, timeout: float | None = 10.0) -> Mapping[str, AccountBalances]:
        """The balances, once they stand at a position or later: that of a write, to read what was written.

        What touches none of the followed accounts is noticed with the next heartbeat only.

        Raises:
            TimeoutError: it was not reached within so many seconds; None: wait for ever.
        """
        async with asyncio.timeout(timeout):
            while self.position < position:
                await self._moved.wait()
        return self.balances

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        try:
            while not isinstance(message := await anext(self._stream), Snapshot):
                pass
            self._apply(message)
        except BaseException:
            await self._stream.__aexit__()
            raise
        self._task = asyncio.create_task(self._follow(), name="follow-balances")
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.__aexit__()
        self._lose(RuntimeError("balances are followed inside `async with`"))

    async def _follow(self) -> None:
        async for message in self._stream:
            self._apply(message)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._lose(error)

    def _apply(self, message: WatchMessage) -> None:
        """Takes over what a message says; nothing of it, if it does not follow what is known."""
        if isinstance(message, Snapshot):
            self._balances = dict(message.accounts)
        elif isinstance(message, Event):
            self._change(
                [(c.account_id, c.lock_version, 1, c.before, c.after) for c in message.changes if c.account_id]
            )
        elif isinstance(message, ConflatedChanges):
            folds = [change for change in message.changes if change.account_id]
            self._change([(c.account_id, c.lock_version, c.folded, c.before, c.after) for c in folds])
        self._position = message.position
        self._wake()

    def _change(self, changes: Iterable[tuple[str, int, int, Balances, Balances]]) -> None:
        changed = {}
        for account_id, lock_version, moves, before, after in changes:
            known = self._balances.get(account_id)
            if lock_version - moves != (known.lock_version if known else 0) or (known and known.balances != before):
                raise StreamGap(f"account {account_id}: the change to lock_version {lock_version} follows another one")
            changed[account_id] = AccountBalances(account_id=account_id, lock_version=lock_version, balances=after)
        self._balances.update(changed)

    def _lose(self, error: BaseException) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _raise_if_lost(self) -> None:
        if self._error is not None:
            raise self._error


class FollowCalls(WatchCalls):
    """What can be followed."""

    def follow_balances(
        self,
        ledger_id: str,
        *,
        account_ids: Iterable[str] = (),
        heartbeat_interval: float = DEFAULT_HEARTBEAT_SECONDS,
        reconnect_timeout: float | None = None,
    ) -> FollowedBalances:
        """Keep balances current locally::

            async with ledger.follow_balances(ledger_id, account_ids=[wallet.id]) as followed:
                print(followed.balances[wallet.id].balances.available.amount)
                balances = await followed.reached(transaction.position)

        Entering returns when all balances are there. A lost connection is resumed; meanwhile they stand still, which
        ``position`` shows. Categories are not followed: who leaves one would have to be told; see ``watch_balances``.

        Args:
            ledger_id: which ledger.
            account_ids: only these accounts, at most 10,000; none: all of the ledger, which must fit into memory.
            heartbeat_interval, reconnect_timeout: as in ``watch_balances``.

        Raises:
            What ``watch_balances`` raises, from then on with every reading.
        """
        return FollowedBalances(
            self.watch_balances(
                ledger_id,
                account_ids=account_ids,
                snapshot=True,
                conflate=True,
                heartbeat_interval=heartbeat_interval,
                reconnect_timeout=reconnect_timeout,
            )
        )
