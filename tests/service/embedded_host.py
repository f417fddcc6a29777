"""A process that holds an embedded PostgreSQL, for tests that kill it.

    python embedded_host.py DATA_DIRECTORY [--thread]

Prints the server's process id once it is up. With --thread the event loop does not run on the main
thread, so that the guardian process stands in for the kernel's parent-death signal.
"""

import asyncio
import sys
import threading
from pathlib import Path

from ledger_server.storage.embedded import embedded_postgres


async def _hold(data_directory: Path) -> None:
    async with embedded_postgres(data_directory) as postgres:
        print(postgres.pid, flush=True)
        await postgres.exited


def main() -> None:
    data_directory = Path(sys.argv[1])
    if "--thread" in sys.argv:
        thread = threading.Thread(target=lambda: asyncio.run(_hold(data_directory)))
        thread.start()
        thread.join()
    else:
        asyncio.run(_hold(data_directory))


if __name__ == "__main__":
    main()
