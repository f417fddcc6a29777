"""A service of the demo's own: started with empty books, stopped and forgotten at the end."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


class ServerDidNotStartError(Exception):
    """The service ended or said nothing; the message has the end of its log."""


@asynccontextmanager
async def own_server() -> AsyncIterator[str]:
    """The address of a service that lives as long as the context.

    Raises:
        ServerDidNotStartError: it did not serve in time.
    """
    with tempfile.TemporaryDirectory(prefix="ledger-demo-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL never runs as root, and its other user has to get in here
        ready, log = directory / "ready", directory / "log"
        environment = os.environ | {
            "LEDGER_LISTEN": "127.0.0.1:0",
            "LEDGER_DATA_DIRECTORY": str(directory / "data"),
            "LEDGER_READY_FILE": str(ready),
        }
        environment.pop("LEDGER_DATABASE_URL", None)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "ledger_server"),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches it through us, in order
            )
        try:
            yield await _address(process, ready, log)
        finally:
            await _stop(process)


async def _address(process: asyncio.subprocess.Process, ready: Path, log: Path) -> str:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not ready.exists():  # nothing tells when a file appears
                if process.returncode is not None:
                    raise ServerDidNotStartError(f"it ended with status {process.returncode}:\n{_tail(log)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ServerDidNotStartError(f"not within {_START_SECONDS:g} s:\n{_tail(log)}") from None
    return ready.read_text().strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
