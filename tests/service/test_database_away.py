"""A server that is cut off from its database says so: by its health, and to those who watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ledger_client import Heartbeat, LedgerClient, LedgerError, credit, debit
from ledger_server.posting import drafts, worker
from tests.conftest import Server, new_server
from tests.patience import PATIENCE_SECONDS
from tests.proxy import Proxy, proxied, socket_of
from tests.service.raw import channel_to

SERVICE = "ledger.v1.LedgerService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def link(database: str) -> AsyncIterator[Proxy]:
    """Between a server and its database."""
    async with proxied(socket_of(database)) as link:
        yield link


@pytest.fixture
async def far_server(database: str, link: Proxy) -> AsyncIterator[Server]:
    async with new_server(link.dsn(urlsplit(database).path.removeprefix("/"))) as server:
        yield server


@pytest.mark.parametrize("how", ["black hole", "cut"])
async def test_its_services_are_not_healthy_but_its_process_is(far_server: Server, link: Proxy, how: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), channel_to(far_server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        service = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await service.read()).status == SERVING
        link.black_hole()
        if how == "cut":
            link.cut()
        assert (await service.read()).status == NOT_SERVING
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=""))).status == SERVING
        link.heal()
        assert (await service.read()).status == SERVING


async def test_connections_that_a_firewall_forgot_are_noticed_while_callers_wait(
    far_server: Server, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent on them is gone, and nobody says so."""
    monkeypatch.setattr(worker, "DRAFT_SECONDS", 0.5)
    monkeypatch.setattr(drafts, "READ_SECONDS", 0.5)
    async with LedgerClient(far_server.address, timeout=8) as client:
        ledger = await client.create_ledger("Far")
        one, other = [
            await client.create_account(ledger.id, name, normal_balance="debit", currency="USD") for name in "ab"
        ]
        entries = [debit(one, 1), credit(other, 1)]
        for _ in range(3):
            await client.create_transaction(ledger.id, entries)
        link.swallow()
        writing = asyncio.create_task(client.create_transaction(ledger.id, entries))
        with pytest.raises(LedgerError):
            await client.get_account(ledger.id, one, timeout=0.3)
        link.heal()
        assert (await writing).position == 6


async def test_its_streams_do_not_say_that_nothing_is_missing(far_server: Server, link: Proxy) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), LedgerClient(far_server.address) as client:
        ledger = await client.create_ledger("Far")
        async with client.watch_balances(ledger.id, heartbeat_interval=0.1) as stream:
            last = await _heartbeat(stream, knows_lag=True)
            link.black_hole()
            silent = await _heartbeat(stream, knows_lag=False)
            assert silent.position == last.position
            link.heal()
            again = await _heartbeat(stream, knows_lag=True)
    assert again.time.ToNanoseconds() > silent.time.ToNanoseconds()


async def _heartbeat(stream: AsyncIterator[object], *, knows_lag: bool) -> Heartbeat:
    """The next one that says how much is missing, or that does not."""
    async for happened in stream:
        if isinstance(happened, Heartbeat) and happened.HasField("lag") == knows_lag:
            return happened
    raise AssertionError("the stream has ended")


async def test_reads_find_connections_again_when_a_firewall_forgot_theirs(far_server: Server, link: Proxy) -> None:
    async with LedgerClient(far_server.address) as client:
        ledger = await client.create_ledger("Far")

        async def read() -> None:
            await client.get_ledger(ledger.id, timeout=1)

        await asyncio.gather(*(read() for _ in range(40)))
        link.swallow()
        assert all(await asyncio.gather(*(read() for _ in range(40)), return_exceptions=True))
        link.heal()
        # Those whose callers have left are found out soon, the others by their next callers.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(
                said is None for said in await asyncio.gather(*(read() for _ in range(20)), return_exceptions=True)
            ):
                pass
