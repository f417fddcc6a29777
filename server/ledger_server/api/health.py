"""The standard health service, for two kinds of callers.

Who restarts a process that hangs asks for "": it serves until it drains. Who chooses among servers asks for
`ledger.v1.LedgerService` or `LedgerAdminService`: they serve while their database answers, too.

Its watchers do not keep a server from stopping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from ledger_server.background import end_tasks


class Health(health.aio.HealthServicer):
    """As the library's, but a watch ends when the server drains, after its last word.

    A watch lasts as long as its caller likes, so that each of those that balancers keep would use up the whole time
    for draining.
    """

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = services
        self._is_over = asyncio.Event()

    async def Watch(self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Writes each change of the status."""
        words = _Words(context)
        tasks = [
            asyncio.create_task(super().Watch(request, cast(Any, words))),
            asyncio.create_task(self._is_over.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(tasks)
            await words.said()
        if words.last != HealthCheckResponse.NOT_SERVING:
            await context.write(HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")

    async def begin(self) -> None:
        """Everything is served."""
        await self.set("", HealthCheckResponse.SERVING)
        await self.tell_of_database(is_present=True)

    async def tell_of_database(self, is_present: bool) -> None:
        """Says so of all services."""
        status = HealthCheckResponse.SERVING if is_present else HealthCheckResponse.NOT_SERVING
        for name in self._services:
            await self.set(name, status)

    async def enter_graceful_shutdown(self) -> None:
        """Not serving from here on, and no watch goes on."""
        await super().enter_graceful_shutdown()
        self._is_over.set()


class _Words:
    """A watch's context, of which the library needs no more than write.

    What is being written is not cancelled: gRPC goes on with it whoever waits, and takes no other message meanwhile. A
    watch that gave it one hung, and kept the server from stopping.
    """

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context
        self._writing: asyncio.Future[None] | None = None
        self.last: int | None = None

    async def write(self, response: HealthCheckResponse) -> None:
        self.last = response.status
        self._writing = asyncio.ensure_future(self._context.write(response))
        await asyncio.shield(self._writing)

    async def said(self) -> None:
        """Returns when nothing is being written any more."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
