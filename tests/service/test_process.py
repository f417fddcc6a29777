"""The service as its users meet it: real processes, real signals, a real terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2

from ledger_client import (
    DatabaseUnavailable,
    LedgerClient,
    LedgerError,
    ShuttingDown,
    Unavailable,
    commands,
    credit,
    debit,
)
from ledger_client.channel import DEFAULT_TIMEOUT_SECONDS
from ledger_server.storage.embedded import EmbeddedPostgres, embedded_postgres
from ledger_server.storage.pool import Connection
from tests import audit
from tests.conftest import FAST_AND_FORGETFUL, POSTGRES_BIN, new_database
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import (
    ROOT,
    Service,
    copied,
    environment,
    postgres_processes,
    refused,
    started,
    starting,
    until,
    until_postgres_is_gone,
)

CERTIFICATE = Path(__file__).with_name("localhost.pem")
KEY = Path(__file__).with_name("localhost.key")
# The client's own retries would hide what the service answers.
NO_RETRIES = {"grpc.enable_retries": 0}
UPDATED = "UPDATE ledgers SET position = position WHERE ledger_id = $1"


@dataclass
class Writers:
    """Callers who post one unit from one account to another, each as soon as the last answer is there."""

    client: LedgerClient
    ledger_id: str
    accounts: Sequence[str]
    acknowledged: list[str] = field(default_factory=list)
    refusals: list[LedgerError] = field(default_factory=list)
    under_way: int = 0

    @classmethod
    async def on_new_ledger(cls, client: LedgerClient) -> Writers:
        """Writers on a ledger of their own with two accounts."""
        ledger = await client.create_ledger("Load")
        accounts = [
            (await client.create_account(ledger.id, side, normal_balance=side, currency="EUR")).id
            for side in ("debit", "credit")
        ]
        return cls(client, ledger.id, accounts)

    async def post(self) -> None:
        """One transaction."""
        self.under_way += 1
        try:
            entries = [debit(self.accounts[0], 1), credit(self.accounts[1], 1)]
            transaction = await self.client.create_transaction(self.ledger_id, entries, status="posted")
            self.acknowledged.append(transaction.id)
        finally:
            self.under_way -= 1

    async def until_refused(self) -> None:
        """Posts until the service is gone."""
        try:
            while True:
                await self.post()
        except Unavailable as refusal:
            self.refusals.append(refusal)

    async def have_posted(self, count: int) -> None:
        """Waits until so many were acknowledged."""
        await until(lambda: len(self.acknowledged) >= count)

    @asynccontextmanager
    async def running(self, count: int) -> AsyncIterator[None]:
        """So many of them post within the block, and beyond it until all were refused."""
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self.until_refused())
            yield


async def transactions(dsn: str) -> set[str]:
    """The ids of all transactions in the database."""
    async with connected(dsn) as connection:
        return {row[0] for row in await connection.fetch("SELECT transaction_id::text FROM transactions")}


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int, bytearray]]:
    """Its two ends, and what was shown on it so far."""
    ours, theirs = os.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            shown.extend(os.read(ours, 65_536))
        except OSError:
            asyncio.get_running_loop().remove_reader(ours)

    asyncio.get_running_loop().add_reader(ours, read)
    try:
        yield ours, theirs, shown
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


@dataclass(frozen=True)
class FirstRun:
    """A first `make run` in a terminal, ended with Ctrl-C."""

    data: Path
    shown: str
    ledger_id: str
    ready_file: Path


@pytest.fixture(scope="module")
async def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    directory = tmp_path_factory.mktemp("first")
    data, ready_file = directory / "data", directory / "ready"
    with terminal() as (ours, theirs, shown):
        make = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", "make", "--directory", str(ROOT), "run"),
            env=environment(listen="127.0.0.1:0", data_directory=data, ready_file=ready_file),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            await until(lambda: ready_file.exists() or make.returncode is not None)
            assert make.returncode is None, shown.decode()
            async with LedgerClient(ready_file.read_text()) as client:
                ledger = await client.create_ledger("Kept")
            os.write(ours, b"\x03")
            async with asyncio.timeout(PATIENCE_SECONDS):
                await make.wait()
            await until(lambda: b"stopped" in shown)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(make.pid, signal.SIGKILL)
    return FirstRun(data, shown.decode(), ledger.id, ready_file)


async def test_make_run_says_where_it_is_and_ctrl_c_in_the_terminal_stops_it_and_postgresql(
    first_run: FirstRun,
) -> None:
    lines = [line for line in first_run.shown.replace("^C", "").splitlines() if line.startswith("ledger: ")]
    assert [line.partition(" ")[2].split()[0] for line in lines] == ["serving", "data", "try", "draining", "stopped"]
    assert "serving gRPC on 127.0.0.1:" in lines[0]
    assert f"data in {first_run.data} (embedded PostgreSQL " in lines[1]
    assert "make demo" in lines[2]
    assert "CreateLedger" in first_run.shown
    assert "Traceback" not in first_run.shown
    assert not first_run.ready_file.exists()
    assert postgres_processes(first_run.data) == []


async def test_a_second_start_finds_the_data_and_a_second_service_beside_it_is_refused(
    first_run: FirstRun, tmp_path: Path
) -> None:
    data = copied(first_run.data, tmp_path)
    async with started(tmp_path, data_directory=data) as service, LedgerClient(service.address) as client:
        assert (await client.get_ledger(first_run.ledger_id)).name == "Kept"
        dsn = f"postgresql://ledger@/ledger?host={data}/socket"
        on_same_data, on_same_port = await asyncio.gather(
            refused(tmp_path, data_directory=data), refused(tmp_path, database_url=dsn, listen=service.address)
        )
        assert f"in use by process {service.pid}" in on_same_data
        assert f"cannot listen on {service.address}: something else listens there already" in on_same_port
        assert (await client.get_ledger(first_run.ledger_id)).name == "Kept"
        service.process.send_signal(signal.SIGTERM)
        assert await service.stopped() == 0
    assert service.said()[-1] == "stopped"
    assert postgres_processes(data) == []


async def test_each_call_is_one_line_of_json_without_amounts_metadata_and_credentials(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with new_database(postgres) as dsn:
        async with started(tmp_path, database_url=dsn) as service, LedgerClient(service.address) as client:
            writers = await Writers.on_new_ledger(client)
            entries = [debit(writers.accounts[0], 918273645), credit(writers.accounts[1], 918273645)]
            await client.create_transaction(writers.ledger_id, entries, metadata={"guest": "hush-hush"})
            await client.import_transactions(writers.ledger_id, [commands.create_transaction(entries)])
            assert (await client.verify_ledger(writers.ledger_id)).sound
            with pytest.raises(LedgerError):
                await client.get_ledger("0198a6a5-0000-7000-8000-000000000000")
            service.interrupt()
            assert await service.stopped() == 0
        rpcs = [(line["rpc"], line["code"], line["ledger"]) for line in service.logged() if line["event"] == "rpc"]
    assert rpcs == [
        ("CreateLedger", "OK", ""),
        ("CreateAccount", "OK", writers.ledger_id),
        ("CreateAccount", "OK", writers.ledger_id),
        ("CreateTransaction", "OK", writers.ledger_id),
        ("ImportTransactions", "OK", writers.ledger_id),
        ("VerifyLedger", "OK", writers.ledger_id),
        ("GetLedger", "NOT_FOUND", "0198a6a5-0000-7000-8000-000000000000"),
    ]
    output = service.output.read_text()
    assert "918273645" not in output
    assert "hush" not in output
    assert dsn not in output


async def test_a_call_does_not_go_through_threads_of_grpcs_engine(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    async with (
        new_database(postgres) as dsn,
        started(tmp_path, database_url=dsn) as service,
        LedgerClient(service.address) as client,
    ):
        ledger = await client.create_ledger("Called")
        before = _engine_wakes(service.pid)
        for _ in range(1_000):
            await client.get_ledger(ledger.id)
        woken = _engine_wakes(service.pid) - before
    # If they read and write the sockets it is 3,000 and more; for nothing they wake 20 times a second.
    assert woken < 1_000


def _engine_wakes(pid: int) -> int:
    """How often the threads of gRPC's event engine have slept and gone on."""
    tasks = [task for task in Path(f"/proc/{pid}/task").iterdir() if "event_engine" in (task / "comm").read_text()]
    assert tasks
    found = [re.search(r"^voluntary_ctxt_switches:\t(\d+)$", (t / "status").read_text(), re.MULTILINE) for t in tasks]
    return sum(int(match[1]) for match in found if match)


async def test_calls_go_on_when_nobody_reads_the_log_any_more(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with new_database(postgres) as dsn, starting(tmp_path, writing, database_url=dsn) as service:
        os.close(writing)
        await service.until_ready()
        os.close(reading)
        async with LedgerClient(service.address) as client:
            ledger = await client.create_ledger("Unheard")
            assert (await client.get_ledger(ledger.id)).name == "Unheard"
        service.process.terminate()
        await service.stopped()


def _other_major_version(data: Path) -> None:
    (data / "pgdata" / "PG_VERSION").write_text("12\n")


def _interrupted_initdb(data: Path) -> None:
    (data / "pgdata").rename(data / "pgdata.incomplete")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(_other_major_version, "was made by PostgreSQL 12", id="another major version"),
        pytest.param(_interrupted_initdb, "is what an interrupted initdb left behind", id="interrupted initdb"),
    ],
)
async def test_a_data_directory_that_cannot_be_used_is_said_so_and_not_touched(
    first_run: FirstRun, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    data = copied(first_run.data, tmp_path)
    spoil(data)
    before = {path: path.lstat().st_mtime_ns for path in data.rglob("*")}
    message = await refused(tmp_path, data_directory=data)
    assert said in message
    assert "Traceback" not in message
    assert {path: path.lstat().st_mtime_ns for path in data.rglob("*")} == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param({"lsiten": "127.0.0.1:0"}, "LEDGER_LSITEN: no such setting", id="a misspelt setting"),
        pytest.param({"listen": "0.0.0.0:0"}, "LEDGER_INSECURE=1", id="beyond loopback without TLS"),
        pytest.param(
            {"listen": "0.0.0.0:0", "tls_certificate": CERTIFICATE, "tls_key": CERTIFICATE},
            "not a certificate and its private key",
            id="no key",
        ),
        pytest.param(
            {"database_url": "postgresql://me:s3cret@127.0.0.1:1/x"}, "Connection refused", id="nobody listens"
        ),
        pytest.param({"database_url": "postgresql://me:s3cret/x@db/x"}, "percent-encoded", id="no URL"),
        pytest.param(
            {"ready_file": "missing/ready"}, "LEDGER_READY_FILE=missing/ready: there is no directory", id="no place"
        ),
        pytest.param({"ready_file": "/proc"}, "LEDGER_READY_FILE=/proc", id="no file"),
        pytest.param({"database_url": "mysql://me:s3cret@db/x"}, "got 'mysql'", id="another database"),
    ],
)
async def test_a_setting_that_cannot_be_meant_is_refused_in_a_line(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    message = await refused(tmp_path, data_directory=tmp_path / "data", **settings)
    assert said in message
    assert "s3cret" not in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "data").exists()


async def test_a_database_that_does_not_let_us_in_is_said_so_without_the_password(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    rules = postgres.data_directory / "pgdata" / "pg_hba.conf"
    unguarded = rules.read_text()
    async with connected(postgres.dsn("postgres")) as connection:
        await connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        rules.write_text(f"local all guarded scram-sha-256\n{unguarded}")
        try:
            await connection.execute("SELECT pg_reload_conf()")
            place = f"host={postgres.socket_directory}"
            messages = await asyncio.gather(
                refused(tmp_path, database_url=f"postgresql://guarded:wr0ng@/postgres?{place}"),
                refused(tmp_path, database_url=f"postgresql://guarded:right@/postgres?{place}"),
                refused(tmp_path, database_url=postgres.dsn("absent")),
            )
        finally:
            rules.write_text(unguarded)
            await connection.execute("SELECT pg_reload_conf()")
            await connection.execute("DROP ROLE guarded")
    assert 'password authentication failed for user "guarded"' in messages[0]
    assert "permission denied for schema public" in messages[1]
    assert 'database "absent" does not exist' in messages[2]
    for message in messages:
        assert message.startswith("ledger: cannot use the PostgreSQL of LEDGER_DATABASE_URL: ")
        assert "wr0ng" not in message
        assert "right" not in message


async def test_it_listens_with_tls_on_ipv6_on_a_socket_file_and_without_tls_if_asked_by_name(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left_by_a_killed_one:
        left_by_a_killed_one.bind(str(tmp_path / "socket"))
    listens: list[dict[str, object]] = [
        {"listen": "0.0.0.0:0", "tls_certificate": CERTIFICATE, "tls_key": KEY},
        {"listen": "0.0.0.0:0", "insecure": 1},
        {"listen": f"unix:{tmp_path}/socket"},
    ]
    if _has_ipv6():
        listens.append({"listen": "[::1]:0"})
    async with new_database(postgres) as dsn, AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(starting(tmp_path, database_url=dsn, **listen)) for listen in listens
        ]
        await asyncio.gather(*[service.until_ready() for service in services])
        trusting = grpc.ssl_channel_credentials(CERTIFICATE.read_bytes())
        secure = services[0].address.replace("0.0.0.0", "localhost")
        async with LedgerClient(secure, credentials=trusting) as client:
            ledger = await client.create_ledger("Anywhere")
        for service in services[1:]:
            async with LedgerClient(service.address.replace("0.0.0.0", "127.0.0.1")) as client:
                assert await client.get_ledger(ledger.id, min_position=0) == ledger
        async with LedgerClient(secure, options=NO_RETRIES) as in_plain_text:
            with pytest.raises(Unavailable):
                await in_plain_text.get_ledger(ledger.id)
        taken = await refused(tmp_path, database_url=dsn, listen=f"unix:{tmp_path}/socket")
        assert "something else listens there already" in taken
    assert "(TLS)" in services[0].said()[0]
    assert "(no TLS)" in services[1].said()[0]
    assert services[2].said()[0].startswith(f"serving gRPC on unix:{tmp_path}/socket")


async def test_nobody_waits_for_a_reader_of_the_log_who_sleeps(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4_096)
    async with new_database(postgres) as dsn, starting(tmp_path, theirs, database_url=dsn) as service:
        os.close(theirs)
        await service.until_ready()
        async with LedgerClient(service.address) as client:
            ledger = await client.create_ledger("Test")
            for _ in range(60):
                await asyncio.gather(*(client.get_ledger(ledger.id) for _ in range(50)))
            os.kill(service.pid, signal.SIGTERM)
            assert await service.stopped() == 0
    os.close(ours)


async def test_it_serves_whoever_closed_its_standard_streams(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    without = ("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-')
    async with new_database(postgres) as dsn, starting(tmp_path, None, without, database_url=dsn) as service:
        await service.until_ready()
        async with LedgerClient(service.address) as client:
            await client.create_ledger("Test")
        for descriptor in range(3):
            assert Path(f"/proc/{service.pid}/fd/{descriptor}").readlink() == Path(os.devnull)
        service.process.terminate()
        assert await service.stopped() == 0


async def test_log_lines_that_nobody_took_are_counted(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    read = bytearray()
    async with new_database(postgres) as dsn, starting(tmp_path, theirs, database_url=dsn) as service:
        os.close(theirs)
        await service.until_ready()
        async with LedgerClient(service.address) as client:
            ledger = await client.create_ledger("Test")
            for _ in range(60):
                await asyncio.gather(*(client.get_ledger(ledger.id) for _ in range(50)))
            asyncio.get_running_loop().add_reader(ours, lambda: read.extend(os.read(ours, 65_536)))
            await until(lambda: b"log_lines_dropped" in read)
    asyncio.get_running_loop().remove_reader(ours)
    os.close(ours)
    lines = [json.loads(line) for line in read.decode().splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("rpc") == "GetLedger"]
    (dropped,) = [line["count"] for line in lines if line["event"] == "log_lines_dropped"]
    # Something else may be among what was dropped: that the machine was slow.
    assert 3_000 <= len(told) + dropped < 3_100


async def test_ctrl_c_under_load_answers_what_is_under_way_and_ends_streams(
    first_run: FirstRun, tmp_path: Path
) -> None:
    data = copied(first_run.data, tmp_path)
    async with (
        started(tmp_path, data_directory=data, drain_seconds=120) as service,
        LedgerClient(service.address, options=NO_RETRIES) as client,
    ):
        writers = await Writers.on_new_ledger(client)
        watch_health: grpc.aio.UnaryStreamMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = client.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        health = watch_health(health_pb2.HealthCheckRequest())
        assert _status(await health.read()) == health_pb2.HealthCheckResponse.SERVING
        paused_import = client.stub.ImportTransactions()
        async with client.watch_balances(writers.ledger_id, reconnect_timeout=0) as stream:
            async with writers.running(8):
                await writers.have_posted(200)
                service.interrupt()
            with pytest.raises(ShuttingDown):
                async for _ in stream:
                    pass
        assert _status(await health.read()) == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await paused_import.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        # Nobody who only watches our health, or pauses, keeps us from stopping.
        assert await service.stopped(30) == 0
    # Who came too late is told so in a way that clients repeat, and nobody CANCELLED.
    assert len(writers.refusals) == 8
    assert {line.get("code") for line in service.logged()} <= {None, "OK", "UNAVAILABLE", "CANCELLED"}
    assert postgres_processes(data) == []
    assert not service.ready_file.exists()
    async with embedded_postgres(data, bin_directory=POSTGRES_BIN) as postgres:
        # Whatever was written was answered.
        assert await transactions(postgres.dsn()) == set(writers.acknowledged)
        assert await audit.findings(postgres.dsn()) == []


async def test_a_second_ctrl_c_does_not_wait_for_the_drain(first_run: FirstRun, tmp_path: Path) -> None:
    data = copied(first_run.data, tmp_path)
    async with (
        started(tmp_path, data_directory=data) as service,
        LedgerClient(service.address, options=NO_RETRIES) as client,
    ):
        writers = await Writers.on_new_ledger(client)
        await writers.post()
        async with connected(f"postgresql://ledger@/ledger?host={data}/socket") as other:
            locked = other.transaction()
            await locked.start()
            await other.execute(UPDATED, number_of(writers.ledger_id))
            stuck = asyncio.create_task(writers.until_refused())
            await until(lambda: writers.under_way)
            service.interrupt()
            await until(lambda: any("draining" in line for line in service.said()))
            # make passes SIGTERM on to a child that has had it already: that is nobody's impatience.
            service.process.send_signal(signal.SIGTERM)
            service.interrupt()
            assert await service.stopped(2) == 128 + signal.SIGINT
            await stuck
            other.terminate()
    assert "exiting at once" in service.said()[-1]
    assert not service.ready_file.exists()
    await until_postgres_is_gone(data)
    async with embedded_postgres(data, bin_directory=POSTGRES_BIN) as postgres:
        assert await transactions(postgres.dsn()) >= {*writers.acknowledged}
        assert await audit.findings(postgres.dsn()) == []


async def test_ctrl_c_during_a_start_gives_it_up(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with starting(tmp_path, data_directory=data) as service:
        await until((data / "pgdata.incomplete").exists)
        service.interrupt()
        assert await service.stopped(5) == 0
    assert service.said() == ["stopped before it served"]
    # initdb cleans up after itself, so the next start is a first one.
    assert not (data / "pgdata").exists()
    assert not (data / "pgdata.incomplete").exists() or not any((data / "pgdata.incomplete").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_told_to_stop_again_and_again_from_any_moment_on_it_ends_in_order(
    database: str, tmp_path: Path, number: signal.Signals
) -> None:
    chance = random.Random(number)
    statuses = []
    for _ in range(5):
        async with starting(tmp_path, database_url=database) as service:
            await _until_it_catches_signals(service)
            await asyncio.sleep(chance.uniform(0, 1.5))
            statuses.append(await _told_until_it_ends(service, number))
    # A service that has begun and is told once more by SIGINT leaves its calls unanswered, and says so.
    assert set(statuses) <= ({0} if number == signal.SIGTERM else {0, 128 + signal.SIGINT})


async def test_a_migration_that_is_interrupted_says_that_it_is_not_done(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    statuses = []
    for tenths in range(0, 8, 2):
        async with (
            new_database(postgres, template="template1") as dsn,
            starting(tmp_path, None, (), ("migrate",), database_url=dsn) as migration,
        ):
            await _until_it_catches_signals(migration)
            await asyncio.sleep(tenths / 10)
            statuses.append(await _told_until_it_ends(migration, signal.SIGTERM))
    assert set(statuses) <= {0, 128 + signal.SIGTERM}
    assert statuses[0] == 128 + signal.SIGTERM


async def _until_it_catches_signals(service: Service) -> None:
    """Until the kernel gives it SIGTERM to handle; before, an interpreter is being loaded."""

    def catches() -> bool:
        lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
        caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    await until(catches)


async def _told_until_it_ends(service: Service, number: signal.Signals) -> int:
    """Its exit status, after a signal every millisecond."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while service.process.returncode is None:
            # Not by the process object, which would take the exit status away from whoever waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(service.pid, number)
            await asyncio.sleep(0.001)
    return service.process.returncode


async def test_killed_under_load_again_and_again_nothing_acknowledged_is_lost(
    first_run: FirstRun, tmp_path: Path
) -> None:
    data = copied(first_run.data, tmp_path)
    dsn = f"postgresql://ledger@/ledger?host={data}/socket"
    acknowledged: list[str] = []
    for _ in range(3):
        async with (
            started(tmp_path, data_directory=data) as service,
            LedgerClient(service.address, options=NO_RETRIES) as client,
        ):
            assert await transactions(dsn) >= {*acknowledged}
            writers = await Writers.on_new_ledger(client)
            async with writers.running(8):
                await writers.have_posted(150)
                service.process.kill()
                await service.stopped()
                await until_postgres_is_gone(data)
            acknowledged += writers.acknowledged
    # At last PostgreSQL itself is killed underneath.
    async with (
        started(tmp_path, data_directory=data) as service,
        LedgerClient(service.address, options=NO_RETRIES) as client,
    ):
        assert await transactions(dsn) >= {*acknowledged}
        assert await audit.findings(dsn) == []
        writers = await Writers.on_new_ledger(client)
        await writers.post()
        os.kill(int((data / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert await service.stopped() == 1
    assert "PostgreSQL ended by itself" in "\n".join(service.said())
    assert str(data / "postgresql.log") in "\n".join(service.said())
    async with embedded_postgres(data, bin_directory=POSTGRES_BIN) as postgres:
        assert await transactions(postgres.dsn()) >= {*acknowledged, *writers.acknowledged}
        assert await audit.findings(postgres.dsn()) == []


async def test_two_services_share_a_database_and_survive_its_absence(first_run: FirstRun, tmp_path: Path) -> None:
    data = copied(first_run.data, tmp_path)
    async with AsyncExitStack() as stack:
        async with embedded_postgres(data, bin_directory=POSTGRES_BIN, settings=FAST_AND_FORGETFUL) as postgres:
            async with connected(postgres.dsn()) as connection:
                await connection.execute("CREATE DATABASE shared")
            dsn = postgres.dsn("shared")
            services = [await stack.enter_async_context(starting(tmp_path, database_url=dsn)) for _ in range(2)]
            await asyncio.gather(*[service.until_ready() for service in services])
            clients = [
                await stack.enter_async_context(LedgerClient(service.address, options=options))
                for service, options in zip(services, (NO_RETRIES, None), strict=True)
            ]
            first = await Writers.on_new_ledger(clients[0])
            second = Writers(clients[1], first.ledger_id, first.accounts)
            both = (first, second)

            async def post_many(writers: Writers) -> None:
                for _ in range(40):
                    await writers.post()

            await asyncio.gather(*[post_many(writers) for writers in both for _ in range(4)])
            account = await clients[0].get_account(first.ledger_id, first.accounts[0])
            assert (account.balances.posted.amount, account.lock_version) == ("320", 320)
            assert await audit.findings(dsn) == []
        # PostgreSQL is gone, and the services are not.
        await asyncio.gather(*[_is_unavailable(writers) for writers in both])
        async with embedded_postgres(data, bin_directory=POSTGRES_BIN, settings=FAST_AND_FORGETFUL):
            await asyncio.gather(*[_works_again(writers) for writers in both])
            assert await transactions(dsn) >= {*first.acknowledged, *second.acknowledged}
            account = await clients[1].get_account(first.ledger_id, first.accounts[0])
            assert account.lock_version == len(first.acknowledged + second.acknowledged) == 322
            assert await audit.findings(dsn) == []
            for service in services:
                service.interrupt()
            assert [await service.stopped() for service in services] == [0, 0]


def _status(answer: object) -> int:
    assert isinstance(answer, health_pb2.HealthCheckResponse)
    return answer.status


async def _is_unavailable(writers: Writers) -> None:
    """Says so well before the client's deadline, its own repeats included."""

    async def is_refused(call: Awaitable[object]) -> None:
        with pytest.raises(DatabaseUnavailable):
            await call

    read = writers.client.get_account(writers.ledger_id, writers.accounts[0])
    async with asyncio.timeout(DEFAULT_TIMEOUT_SECONDS - 1):
        await asyncio.gather(is_refused(read), is_refused(writers.post()))


async def _works_again(writers: Writers) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                return await writers.post()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True
