"""The standard health service, whose watchers do not keep a server from stopping."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse


class Health(health.aio.HealthServicer):
    """As the library's, but a watch ends when the server drains, after its last word.

    A watch lasts as long as its caller likes, so that each of those that balancers keep would use up the whole time
    for draining.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_over = asyncio.Event()

    async def Watch(self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Writes each change of the status."""
        tasks = [asyncio.create_task(super().Watch(request, context)), asyncio.create_task(self._is_over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await context.write(HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")

    async def enter_graceful_shutdown(self) -> None:
        """Not serving from here on, and no watch goes on."""
        await super().enter_graceful_shutdown()
        self._is_over.set()
