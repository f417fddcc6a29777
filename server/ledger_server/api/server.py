"""The gRPC server: services, limits and keepalive in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from ledger_client.v1 import admin_service_pb2, ledger_service_pb2
from ledger_server.api.admin_service import LedgerAdminService
from ledger_server.api.calls import method_handlers
from ledger_server.api.door import Door
from ledger_server.api.health import Health
from ledger_server.api.listening import ListenError, check_address
from ledger_server.api.reflection import add_reflection
from ledger_server.api.service import LedgerService
from ledger_server.events.hub import Hub

_SERVICE = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"]
_ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["LedgerAdminService"]

# What a caller may count on; the README's table says why.
REQUEST_BYTES_MAX = 4 * 1024 * 1024
OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    # Stands both bursts of a busy client and floods of resets; 100 breaks bursting clients.
    ("grpc.max_concurrent_streams", 1_000),
    # Calls not yet accepted: above the soft limit gRPC drops some at random, so it is set out of reach.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    # Clients may ping every 5 s, with or without calls under way.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Connections that never say a word of HTTP/2 are closed; by default two minutes later.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Half-open connections are found and closed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # So that clients spread again after a server was added; streams resume by themselves.
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    # Two servers on one port by mistake would share its calls without a word.
    ("grpc.so_reuseport", 0),
)


@asynccontextmanager
async def serving(
    service: LedgerService,
    admin_service: LedgerAdminService,
    hub: Hub,
    listen: str,
    credentials: grpc.ServerCredentials | None,
    drain_seconds: float,
    asking: Callable[[Callable[[bool], Awaitable[None]]], AbstractAsyncContextManager[None]],
) -> AsyncIterator[int]:
    """Serves within the block and yields the port; at its end calls under way may finish for drain_seconds.

    asking: tells within its block whether the database is there, which health passes on.

    Raises ListenError.
    """
    check_address(listen)
    server = grpc.aio.server(options=OPTIONS)
    healthiness, door = Health([_SERVICE.full_name, _ADMIN_SERVICE.full_name]), Door()
    server.add_generic_rpc_handlers(
        (method_handlers(_SERVICE, service, door), method_handlers(_ADMIN_SERVICE, admin_service, door))
    )
    health_pb2_grpc.add_HealthServicer_to_server(healthiness, server)
    add_reflection(server, (_SERVICE.full_name, _ADMIN_SERVICE.full_name, health.SERVICE_NAME))
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError:
        raise ListenError(f"cannot listen on {listen}: gRPC's line above says why") from None
    await server.start()
    await healthiness.begin()
    try:
        async with asking(healthiness.tell_of_database):
            yield port
    finally:
        await healthiness.enter_graceful_shutdown()
        await hub.drain()
        await door.close()
        await server.stop(drain_seconds)
