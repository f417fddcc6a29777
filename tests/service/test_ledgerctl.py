"""`ledgerctl` as people run it: a process, its files, its output and its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger_client import ExternalId, LedgerClient, Unavailable, commands
from tests.conftest import Server
from tests.patience import PATIENCE_SECONDS

LEDGERCTL = Path(sys.executable).parent / "ledgerctl"
ALL_ACCEPTED, SOME_REFUSED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


class Run(NamedTuple):
    status: int
    out: str
    err: str


class Books(NamedTuple):
    """A ledger with the accounts `cash` and `revenue`."""

    client: LedgerClient
    address: str
    ledger_id: str
    position: int

    async def have(self, count: int) -> None:
        ledger = await self.client.get_ledger(self.ledger_id)
        assert ledger.position == self.position + count

    async def reach(self, count: int) -> None:
        """Wait until so many transactions are written."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await self.client.get_ledger(self.ledger_id, min_position=self.position + count)
                    return
                except Unavailable:
                    continue

    async def ctl(self, *words: str | Path, stdin: bytes = b"") -> Run:
        """Run an import to its end."""
        async with self.importing(*words) as process:
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Run(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def importing(self, *words: str | Path, stderr: int = PIPE) -> AsyncIterator[Process]:
        """An import that runs, and is killed at the end if it still does."""
        process = await asyncio.create_subprocess_exec(
            LEDGERCTL,
            *("--address", self.address, "import", "--ledger", self.ledger_id, *words),
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@pytest.fixture
async def books(client: LedgerClient, server: Server) -> Books:
    ledger = await client.create_ledger("Import")
    made = await client.batch_create_accounts(
        ledger.id,
        [
            commands.create_account("Cash", normal_balance="debit", currency="USD", external_id="cash"),
            commands.create_account("Revenue", normal_balance="credit", currency="USD", external_id="revenue"),
        ],
    )
    return Books(client, server.address, ledger.id, made.position)


def line(n: int, external_id: str = "", credited: int = 1) -> str:
    return json.dumps(
        {
            "status": "posted",
            "external_id": external_id or f"x-{n}",
            "entries": [
                {"account_external_id": "cash", "direction": "debit", "amount": "1"},
                {"account_external_id": "revenue", "direction": "credit", "amount": credited},
            ],
        }
    )


def written(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


async def test_a_file_is_imported_and_repeated_without_effect(books: Books, tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", [line(n) for n in range(2_500)] + ["", "  "])
    first = await books.ctl(file, "--import-id", "opening")
    assert first == Run(
        ALL_ACCEPTED,
        f"2500 accepted, 0 refused, 0 of them by an earlier attempt; "
        f"the ledger is at position {books.position + 2_500}\n",
        "import opening\n",
    )
    again = await books.ctl(file, "--import-id", "opening")
    assert again.status == ALL_ACCEPTED
    assert "2500 of them by an earlier attempt" in again.out
    await books.have(2_500)


async def test_standard_input_is_imported_too(books: Books) -> None:
    run = await books.ctl("-", "--chunk-size", "7", stdin="\n".join(line(n) for n in range(20)).encode())
    assert (run.status, run.out.split(";")[0]) == (
        ALL_ACCEPTED,
        "20 accepted, 0 refused, 0 of them by an earlier attempt",
    )
    await books.have(20)


async def test_refused_lines_are_told_by_their_numbers(books: Books, tmp_path: Path) -> None:
    lines = [line(0), line(1), line(0), line(2, credited=2), *(line(1) for _ in range(30))]
    run = await books.ctl(written(tmp_path / "a.jsonl", lines))
    assert run.status == SOME_REFUSED
    assert run.out.startswith("2 accepted, 32 refused")
    told = run.err.splitlines()[1:]
    assert told[0].startswith("line 3: EXTERNAL_ID_TAKEN: ")
    assert told[1].startswith("line 4: UNBALANCED: entries: debits and credits differ")
    assert len(told) == 21
    assert told[-1] == "and 12 more were refused"
    await books.have(2)


async def test_what_is_wrong_is_said_once(books: Books, tmp_path: Path) -> None:
    nowhere = await books._replace(ledger_id="x").ctl(written(tmp_path / "a.jsonl", [line(0)]))
    assert nowhere.err.splitlines()[1] == "ledgerctl: INVALID_FIELD: ledger_id: must be a UUID"

    demanding = json.loads(line(0))
    demanding["entries"][1]["conditions"] = [{"balance": "posted", "operator": ">=", "amount": 5}]
    run = await books.ctl(written(tmp_path / "b.jsonl", [json.dumps(demanding)]))
    revenue = await books.client.get_account(books.ledger_id, ExternalId("revenue"))
    broken = "posted would be 1, demanded ≥ 5, short by 4, at lock_version 0"
    assert run.err.splitlines()[1:] == [f"line 1: CONDITION_FAILED: accounts/{revenue.id}: {broken}"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(
            '{"entries": [{"direction": "debit"}]}', "line 251: entries[0] needs account_id", id="no transaction"
        ),
        pytest.param("{", "line 251: Expecting property name", id="no JSON"),
        pytest.param("", "line 251: is empty", id="empty"),
        pytest.param(line(250, "x" * 181), "line 251: INVALID_FIELD: external_id: must be at most 180", id="malformed"),
    ],
)
async def test_a_wrong_line_stops_the_import_and_the_corrected_file_goes_on(
    books: Books, tmp_path: Path, wrong: str, message: str
) -> None:
    right = [line(n) for n in range(500)]
    file = written(tmp_path / "a b.jsonl", [*right[:250], wrong, *right[251:]])
    stopped = await books.ctl(file, "--chunk-size", "100")
    assert stopped.status == STOPPED
    assert stopped.out == ""
    assert f"ledgerctl: {message}" in stopped.err
    await books.have(200)

    written(file, right)
    advice = stopped.err.splitlines()[-1]
    assert advice.startswith("To go on: ledgerctl ")
    words = shlex.split(advice.removeprefix("To go on: "))
    assert words[words.index("--ledger") + 1] == books.ledger_id
    after_ledger = words[words.index("--ledger") + 2 :]
    resumed = await books.ctl(*after_ledger)
    assert resumed.status == ALL_ACCEPTED
    assert resumed.out.startswith("500 accepted, 0 refused, 200 of them by an earlier attempt")
    await books.have(500)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=lambda sent: str(sent.name))
async def test_an_import_that_was_interrupted_goes_on_where_it_was(
    books: Books, tmp_path: Path, sent: signal.Signals
) -> None:
    """In the middle it waits for the rest of standard input."""
    lines = [line(n) for n in range(2_000)]
    async with books.importing("-", "--import-id", "i", "--chunk-size", "300") as process:
        assert process.stdin is not None
        process.stdin.write("".join(f"{text}\n" for text in lines[:1_000]).encode())
        await books.reach(900)
        process.send_signal(sent)
        assert await process.wait() == (INTERRUPTED if sent == signal.SIGINT else -signal.SIGKILL)
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    assert "Traceback" not in said
    assert ("To go on: ledgerctl" in said) == (sent == signal.SIGINT)
    await books.have(900)
    file = written(tmp_path / "a.jsonl", lines)
    resumed = await books.ctl(file, "--import-id", "i", "--chunk-size", "300")
    assert resumed.out.startswith("2000 accepted, 0 refused, 900 of them by an earlier attempt")
    await books.have(2_000)


async def test_what_can_never_succeed_is_not_advised(books: Books, tmp_path: Path) -> None:
    first = written(tmp_path / "a.jsonl", [line(0)])
    other = written(tmp_path / "b.jsonl", [line(1)])
    assert (await books.ctl(first, "--import-id", "i")).status == ALL_ACCEPTED
    reused = await books.ctl(other, "--import-id", "i")
    assert reused.status == STOPPED
    refused, advice = reused.err.splitlines()[1:]
    assert refused.startswith("ledgerctl: REQUEST_ID_REUSED: ")
    assert advice == "Under this --import-id another FILE, or another --chunk-size, was imported: use another one."
    unknown = await books._replace(ledger_id="01234567-89ab-7def-8123-456789abcdef").ctl(first)
    assert unknown.status == STOPPED
    assert "To go on" not in unknown.err


async def test_an_authority_that_is_no_certificate_is_a_matter_of_usage(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    key = Path(__file__).with_name("localhost.key").read_bytes()
    for content in (b"", b"\xff", b"no certificate", key):
        file.write_bytes(content)
        words = ("--address", books.address, "--tls-ca", file, "verify", "--ledger", books.ledger_id)
        process = await asyncio.create_subprocess_exec(LEDGERCTL, *words, stdout=PIPE, stderr=PIPE)
        _, err = await process.communicate()
        assert process.returncode == USAGE
        assert f"ledgerctl: error: argument --tls-ca: no certificate in {file}" in err.decode()


@contextmanager
def terminal() -> Iterator[tuple[int, bytearray]]:
    """A terminal, and what was drawn on it."""
    ours, theirs = os.openpty()
    drawn = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: drawn.extend(os.read(ours, 65_536)))
    try:
        yield theirs, drawn
    finally:
        loop.remove_reader(ours)
        os.close(theirs)
        os.close(ours)


async def test_on_a_terminal_there_is_a_bar(books: Books, tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", [line(n) for n in range(300)] + [line(0)])
    with terminal() as (stderr, drawn):
        async with books.importing(file, "--chunk-size", "100", stderr=stderr) as process:
            out, _ = await process.communicate()
    assert out.startswith(b"300 accepted, 1 refused")
    assert b"301/301" in drawn
    assert b"1 refused" in drawn


async def test_on_a_terminal_a_verification_has_one_too(books: Books) -> None:
    with terminal() as (stderr, drawn):
        words = ("--address", books.address, "verify", "--ledger", books.ledger_id)
        process = await asyncio.create_subprocess_exec(LEDGERCTL, *words, stdout=PIPE, stderr=stderr)
        await process.communicate()
    assert process.returncode == 0
    assert re.search(rb"events .* \d+/\d+.* \d+ rows", drawn)


async def test_a_service_that_is_away_is_waited_for_no_longer_than_asked(books: Books, tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", [line(0)])
    nowhere = books._replace(address="127.0.0.1:1")
    run = await nowhere.ctl(file, "--patience", "0.3", "--import-id", "mine")
    assert run.status == STOPPED
    assert "ledgerctl: UNAVAILABLE: " in run.err
    assert "--import-id mine" in run.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.jsonl"], "No such file or directory: 'missing.jsonl'"),
        (["/"], "Is a directory"),
        (["-", "--chunk-size", "10001"], "must be 1 to 10000"),
        (["-", "--import-id", ""], "must have 1 to 100 characters"),
        (["-", "--patience", "nan"], "must be a number of seconds, 0 or more"),
        (["-", "--patience", "-5"], "must be a number of seconds, 0 or more"),
        (["-", "--patience", "long"], "must be a number of seconds, 0 or more"),
    ],
)
async def test_what_cannot_be_meant_is_a_matter_of_usage(books: Books, words: list[str], message: str) -> None:
    run = await books.ctl(*words)
    assert run.status == USAGE
    assert message in run.err
    assert "To go on" not in run.err


async def test_help_shows_the_form_of_a_line() -> None:
    process = await asyncio.create_subprocess_exec(LEDGERCTL, "import", "--help", stdin=DEVNULL, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b'"direction": "debit"' in out
    assert b"--import-id" in out
