"""``ledgerctl``: the ledger from the command line."""

import argparse
import asyncio
import math
import os
import shlex
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO

import grpc

from ledger_client import cli_verify, jsonlines
from ledger_client.channel import new_request_id
from ledger_client.client import LedgerClient
from ledger_client.errors import LedgerError, LedgerNotFound, RequestIdReused
from ledger_client.importing import (
    CHUNK_COMMANDS_MAX,
    DEFAULT_CHUNK_SIZE,
    IMPORT_ID_CHARACTERS_MAX,
    Acknowledgement,
    ImportSummary,
)
from ledger_client.terminal import progress_bar
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest

_DEFAULT_ADDRESS = "127.0.0.1:50051"
_REFUSALS_SHOWN_MAX = 20
# Of standard input; no transaction that the service takes is longer.
_LINE_BYTES_MAX = 16 * 2**20

DONE, SOME_REFUSED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 128 + signal.SIGINT
_STATUSES = (
    f"{DONE} all accepted, {SOME_REFUSED} some refused, {USAGE} usage, {STOPPED} stopped, {INTERRUPTED} interrupted"
)
_EPILOG = f"""\
exit status: {_STATUSES}.
What was stopped or interrupted goes on when it is repeated with its --import-id, the same
FILE and the same --chunk-size, within a week.

"""

_REUSED = "Under this --import-id another FILE, or another --chunk-size, was imported: use another one."

Progress = Callable[[Acknowledgement], object]


class LineError(ValueError):
    """A line of the file is not a transaction."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(words)
    try:
        file = _opened(options.file) if options.command == "import" else None
    except OSError as error:
        parser.error(str(error))
    # A shell starts background jobs with SIGINT ignored; what runs for long is meant to be stoppable all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file is None:
        return _verify(options)
    with file:
        return _import_file(options, words, file)


def _verify(options: argparse.Namespace) -> int:
    async def run() -> int:
        async with _client(options) as ledger:
            return await cli_verify.verify(ledger, options)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        return INTERRUPTED
    except (LedgerError, OSError) as error:
        print(f"ledgerctl: {error}", file=sys.stderr)
        return STOPPED


def _import_file(options: argparse.Namespace, words: list[str], file: IO[bytes]) -> int:
    if options.import_id is None:
        options.import_id = new_request_id()
        words += ["--import-id", options.import_id]
    try:
        summary = asyncio.run(_import(options, file))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (RequestIdReused, LedgerNotFound) as error:  # the same again would be refused again
        print(f"ledgerctl: {error}", file=sys.stderr)
        if isinstance(error, RequestIdReused):
            print(_REUSED, file=sys.stderr)
        return STOPPED
    except (LedgerError, LineError, OSError) as error:
        print(f"ledgerctl: {_said(error)}", file=sys.stderr)
        status = STOPPED
    else:
        _print_summary(summary)
        return SOME_REFUSED if summary.refused_count else DONE
    print(f"To go on: {shlex.join(['ledgerctl', *words])}", file=sys.stderr)
    return status


def _opened(name: str) -> IO[bytes]:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


def _client(options: argparse.Namespace) -> LedgerClient:
    credentials = None if options.tls_ca is None else grpc.ssl_channel_credentials(options.tls_ca)
    return LedgerClient(options.address, credentials=credentials, actor=options.actor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ledgerctl", description="The ledger from the command line.")
    parser.add_argument(
        "--address",
        default=os.environ.get("LEDGER_ADDRESS") or _DEFAULT_ADDRESS,
        help="host:port of the service (default: LEDGER_ADDRESS, else %(default)s)",
    )
    parser.add_argument("--tls-ca", type=_authority, metavar="PEM", help="speak TLS, and trust this authority")
    parser.add_argument("--actor", help="who writes, recorded with every transaction (default: anonymous)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cli_verify.add_parser(commands)
    command = commands.add_parser(
        "import",
        help="write the transactions of a file",
        description="Write the transactions of a file, one a line, each accepted or refused by itself.",
        epilog=_EPILOG + (jsonlines.__doc__ or "").replace("::", ":"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="lines of JSON, see below; - is standard input")
    command.add_argument("--ledger", required=True, metavar="ID", help="the ledger that will hold them")
    command.add_argument(
        "--import-id",
        type=_import_id,
        metavar="TEXT",
        help="names this import: under the same name nothing is written twice (default: a new one)",
    )
    command.add_argument(
        "--chunk-size",
        type=_chunk_size,
        default=DEFAULT_CHUNK_SIZE,
        metavar="N",
        help=f"transactions of one commit, 1 to {CHUNK_COMMANDS_MAX} (default: %(default)s)",
    )
    command.add_argument(
        "--patience",
        type=_patience,
        default=60.0,
        metavar="SECONDS",
        help="how long to try to reach a service that is away (default: %(default)g)",
    )
    return parser


def _authority(name: str) -> bytes:
    try:
        certificates = Path(name).read_bytes()
        # Authorities have their names in comments, in any language.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise argparse.ArgumentTypeError(f"no certificate in {name}") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return certificates


def _import_id(text: str) -> str:
    if not 1 <= len(text) <= IMPORT_ID_CHARACTERS_MAX:
        raise argparse.ArgumentTypeError(f"must have 1 to {IMPORT_ID_CHARACTERS_MAX} characters")
    return text


def _chunk_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= CHUNK_COMMANDS_MAX:
        raise argparse.ArgumentTypeError(f"must be 1 to {CHUNK_COMMANDS_MAX}")
    return int(text)


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return seconds


async def _import(options: argparse.Namespace, file: IO[bytes]) -> ImportSummary:
    print(f"import {options.import_id}", file=sys.stderr)
    async with _client(options) as ledger:
        with _progress(_line_count(file)) as progress:
            return await ledger.import_transactions(
                options.ledger,
                _transactions(file),
                import_id=options.import_id,
                chunk_size=options.chunk_size,
                progress=progress,
                reconnect_timeout=options.patience,
            )


async def _transactions(file: IO[bytes]) -> AsyncIterator[CreateTransactionRequest]:
    """The transactions of the lines; empty lines may stand at the end only, so that line n is command n - 1."""
    number = empty = 0
    async with aclosing(_lines(file)) as lines:
        async for line in lines:
            number += 1
            if not line.strip():
                empty = empty or number
                continue
            if empty:
                raise LineError(empty, "is empty")
            try:
                yield jsonlines.transaction_from_json(line)
            except (ValueError, RecursionError) as error:
                raise LineError(number, str(error)) from error


async def _lines(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    """What cannot be read ahead may keep us waiting, and what was read before is sent meanwhile."""
    if file.seekable():
        for line in file:
            yield line
        return
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()


def _line_count(file: IO[bytes]) -> int | None:
    """None if the lines can be read once only."""
    if not file.seekable():
        return None
    start = file.tell()
    count = sum(1 for _ in file)
    file.seek(start)
    return count


@contextmanager
def _progress(total: int | None) -> Iterator[Progress]:
    """A bar of the transactions that are done."""
    refused = 0

    def show(acknowledgement: Acknowledgement) -> None:
        nonlocal refused
        refused += acknowledgement.refused_count
        update(completed=acknowledgement.done_count, refused=refused)

    with progress_bar("import", "{task.fields[refused]} refused", total=total, refused=0) as update:
        yield show


def _print_summary(summary: ImportSummary) -> None:
    for refusal in summary.refusals[:_REFUSALS_SHOWN_MAX]:
        print(f"line {refusal.index + 1}: {refusal.error}", file=sys.stderr)
    if (more := summary.refused_count - min(len(summary.refusals), _REFUSALS_SHOWN_MAX)) > 0:
        print(f"and {more} more were refused", file=sys.stderr)
    position = f"; the ledger is at position {summary.position}" if summary.chunk_count else ""
    print(
        f"{summary.accepted_count} accepted, {summary.refused_count} refused, {summary.replayed_count} of them by an "
        f"earlier attempt{position}"
    )


def _said(error: Exception) -> str:
    if isinstance(error, LedgerError) and (index := error.metadata.get("command_index")) is not None:
        return f"line {int(index) + 1}: {error}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
