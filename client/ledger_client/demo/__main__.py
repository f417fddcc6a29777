"""``python -m ledger_client.demo``: on the service at LEDGER_ADDRESS, or on one of its own."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

try:
    from rich.console import Console
    from rich.markup import escape
except ModuleNotFoundError:
    sys.exit("The demo needs the library rich: pip install 'ledger-client[demo]'")

from ledger_client.client import LedgerClient
from ledger_client.demo.own_server import ServerDidNotStartError, own_server
from ledger_client.demo.play import play
from ledger_client.errors import LedgerError

_PAUSE_SECONDS = 1.0


async def main(console: Console) -> int:
    """The exit status: 0 if every number is as it should be."""
    if (this_task := asyncio.current_task()) is not None:
        # Otherwise the service of the demo's own would outlive it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this_task.cancel)
    async with AsyncExitStack() as stack:
        address = os.environ.get("LEDGER_ADDRESS", "")
        if not address:
            with console.status("Starting a ledger service with empty books …"):
                address = await stack.enter_async_context(own_server())
        console.print(f"[dim]Playing on the service at[/dim] {address}")
        client = await stack.enter_async_context(LedgerClient(address, actor="demo"))
        differences = await play(client, console, pause_seconds=_PAUSE_SECONDS if console.is_terminal else 0.0)
    return 1 if differences else 0


def run() -> int:
    """Play, and say in one line what went wrong if it could not be played."""
    console = Console(highlight=False)
    try:
        return asyncio.run(main(console))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except ServerDidNotStartError as error:
        console.print("[bold red]The service did not start:[/bold red]", escape(str(error)))
    except (LedgerError, TimeoutError) as error:
        console.print("[bold red]The demo was cut short:[/bold red]", escape(str(error)))
    return 1


if __name__ == "__main__":
    sys.exit(run())
