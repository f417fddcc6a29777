"""`python -m ledger_server`: catches signals before everything else is loaded, which takes a second. See process.py."""

from __future__ import annotations

import sys

from ledger_server.signals import StopSignals


def main() -> None:
    with StopSignals(is_service=not sys.argv[1:]) as signals:
        from ledger_server.process import run

        run(sys.argv[1:], signals)


if __name__ == "__main__":
    main()
