"""`python -m ledger_server`: catches signals before everything else is loaded, which takes a second. See process.py."""

from __future__ import annotations

import os
import sys

from ledger_server.signals import StopSignals

# Since 1.80 gRPC reads and writes sockets in threads of its own, and each call goes from one to the other and back. As
# before, the thread that waits for calls does it: 120 us of CPU less for a call. gRPC reads this when it is imported; a
# later one that does not know these names any more says so on standard error, upon which the tests of the log fail.
GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"


def main() -> None:
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
    _open_standard_streams()
    with StopSignals(is_service=not sys.argv[1:]) as signals:
        from ledger_server.process import run

        run(sys.argv[1:], signals)


def _open_standard_streams() -> None:
    """One that whoever started us has closed would be the next file that is opened, and log lines go into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


if __name__ == "__main__":
    main()
