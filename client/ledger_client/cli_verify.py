"""``ledgerctl verify``: whether the books are sound, in words and as an exit status."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger_client.auditing import Verification
from ledger_client.client import LedgerClient
from ledger_client.terminal import progress_bar
from ledger_client.v1.admin_service_pb2 import LogDigest, VerifyProgress

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

SOUND, UNSOUND = 0, 1
_EPILOG = """\
exit status: 0 sound, 1 something is wrong, 2 usage, 3 stopped, 130 interrupted.
The digest on the last line covers the whole log. Keep it where nobody who can change the
database can change it, and give it to the next verification with --digest.
"""


def add_parser(commands: "SubParsers") -> None:
    """The command and its options."""
    command = commands.add_parser(
        "verify",
        help="find out whether a ledger's books are sound",
        description="Hold everything that a ledger's books say against everything else that they say.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--ledger", required=True, metavar="ID", help="the ledger")
    command.add_argument(
        "--digest", type=digest_from, metavar="POSITION:DIGEST:EPOCH", help="what an earlier verification said last"
    )
    command.add_argument(
        "--findings-max",
        type=_findings_max,
        default=100,
        metavar="N",
        help="end after so many findings, 1 to 10,000 (default: %(default)s)",
    )


async def verify(ledger: LedgerClient, options: argparse.Namespace) -> int:
    """Verifies, tells what is found as it is found, and returns the exit status."""
    with _progress() as progress:
        result = await ledger.verify_ledger(
            options.ledger,
            known_digest=options.digest,
            findings_max=options.findings_max,
            progress=progress,
            finding=lambda finding: print(finding, flush=True),
        )
    print(_summary(result, options.digest is not None))
    return SOUND if result.sound else UNSOUND


def digest_to(digest: LogDigest) -> str:
    """A digest as it is printed."""
    return f"{digest.position}:{digest.digest.hex()}:{digest.epoch}"


def digest_from(text: str) -> LogDigest:
    """A digest as it was printed; without its epoch too."""
    position, _, rest = text.partition(":")
    digest, _, epoch = rest.partition(":")
    try:
        return LogDigest(position=int(position), digest=bytes.fromhex(digest), epoch=epoch)
    except ValueError:
        raise argparse.ArgumentTypeError("must be as a verification printed it") from None


def _findings_max(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("must be 1 to 10000")
    return int(text)


def _summary(result: Verification, had_digest: bool) -> str:
    digest = digest_to(result.digest)
    if not result.complete:
        return f"NOT SOUND: {len(result.findings)} findings, and not everything was looked at"
    if not result.sound:
        return f"NOT SOUND: {len(result.findings)} findings in {result.rows} rows, at position {result.digest.position}"
    since = f", the log from position {result.checkpoint_position + 1} on" if result.checkpoint_position else ""
    known = ", and by the digest given" if had_digest else ""
    return f"sound: {result.rows} rows at position {result.digest.position}{since}{known}\ndigest {digest}"


@contextmanager
def _progress() -> Iterator[Callable[[VerifyProgress], object]]:
    """A bar of the checks that are done."""

    def show(progress: VerifyProgress) -> None:
        done = progress.checks_done + progress.fraction
        update(completed=done, total=progress.checks_total, description=progress.check or "done", rows=progress.rows)

    with progress_bar("events", "{task.fields[rows]} rows", rows=0) as update:
        yield show
