"""The marketplace tutorial, played on a real service: ``python -m ledger_client.demo``."""

from ledger_client.demo.play import play

__all__ = ["play"]
