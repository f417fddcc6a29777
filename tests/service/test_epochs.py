"""What an operator runs after a restore: every ledger gets a new epoch, and nobody goes on from before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ledger_client import EpochChanged, LedgerClient, credit, debit
from ledger_server.domain.ids import NIL_ID
from tests.conftest import Server
from tests.service.processes import environment


def begin_new_epoch(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as an operator types it."""
    command = [sys.executable, "-m", "ledger_server", *(arguments or ("new-epoch",))]
    return subprocess.run(command, env=environment(database_url=dsn), capture_output=True, text=True, check=False)


async def test_each_ledger_has_an_epoch_of_its_own_afterwards_also_under_a_running_server(own_server: Server) -> None:
    async with LedgerClient(own_server.address) as client:
        before = [await client.create_ledger(str(n)) for n in range(2)]
        accounts = [
            await client.create_account(before[0].id, side, normal_balance=side, currency="USD")
            for side in ("debit", "credit")
        ]
        entries = [debit(accounts[0], 1), credit(accounts[1], 1)]
        written = await client.create_transaction(before[0].id, entries, request_id="before")
        async with client.watch_events(before[0].id, after_position=0) as stream:
            told = begin_new_epoch(own_server.dsn)
            assert (told.returncode, told.stderr) == (0, "ledger: 3 ledgers have a new epoch\n")
            with pytest.raises(EpochChanged):
                async for _ in stream:
                    pass
        after = [await client.get_ledger(ledger.id) for ledger in before]
        assert len({ledger.epoch for ledger in before + after}) == 4
        for ledger_id in (before[0].id, NIL_ID):
            with pytest.raises(EpochChanged):
                async with client.watch_events(ledger_id, after_position=1, epoch=before[0].epoch):
                    pass
        # Its lane has remembered the ledger.
        again = await client.create_transaction(before[0].id, entries)
        assert (again.epoch, again.position) == (after[0].epoch, written.position + 1)
        repeated = await client.create_transaction(before[0].id, entries, request_id="before")
        assert (repeated.id, repeated.position) == (written.id, written.position)


def test_another_command_is_refused_in_a_line() -> None:
    told = begin_new_epoch("postgresql://nobody@127.0.0.1:1/none", "new-era")
    assert told.returncode == 1
    assert "new-epoch" in told.stderr
