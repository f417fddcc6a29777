"""A health watch whose server stops while it is writing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from ledger_server.api.health import Health

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class AbortedError(Exception):
    pass


class SlowContext:
    """Takes one message at a time, as gRPC does, and goes on with it when its writer is cancelled."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.may_go_on = asyncio.Event()
        self.is_writing = False

    async def write(self, response: HealthCheckResponse) -> None:
        assert not self.is_writing, "too many operations"
        self.is_writing = True
        await asyncio.shield(asyncio.create_task(self._take(response)))

    async def _take(self, response: HealthCheckResponse) -> None:
        await self.may_go_on.wait()
        self.taken.append(response.status)
        self.is_writing = False

    async def abort(self, _code: Any, _message: str) -> None:
        raise AbortedError


@pytest.mark.parametrize("is_slow_at_once", [True, False])
async def test_a_watch_has_one_last_word_after_the_one_it_is_writing(*, is_slow_at_once: bool) -> None:
    health, context = Health(["books"]), SlowContext()
    await health.begin()
    watch = asyncio.create_task(health.Watch(HealthCheckRequest(), context))  # type: ignore[arg-type]
    while not context.is_writing:
        await asyncio.sleep(0)
    if not is_slow_at_once:
        context.may_go_on.set()
        while context.taken != [SERVING]:
            await asyncio.sleep(0)
        context.may_go_on.clear()
    stopping = asyncio.create_task(health.enter_graceful_shutdown())
    for _ in range(20):
        await asyncio.sleep(0)
    context.may_go_on.set()
    await stopping
    with pytest.raises(AbortedError):
        await watch
    assert context.taken == [SERVING, NOT_SERVING]
