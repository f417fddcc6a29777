"""Who cuts commits sees each of them: what he does not see is never tried."""

from __future__ import annotations

from urllib.parse import urlsplit

from ledger_client import LedgerClient, credit, debit
from tests.conftest import new_server
from tests.proxy import CommitCuts, proxied, socket_of


async def test_each_batch_has_one_commit_that_may_be_cut(database: str) -> None:
    cuts = CommitCuts(0, every=0)
    async with proxied(socket_of(database)) as way:
        way.hook = cuts.forward
        async with new_server(way.dsn(urlsplit(database).path[1:])) as server, LedgerClient(server.address) as client:
            ledger = await client.create_ledger("books")
            one, other = [
                await client.create_account(ledger.id, name, normal_balance="debit", currency="USD")
                for name in ("one", "other")
            ]
            assert cuts.commits == 3
            entries = [debit(one, 1), credit(other, 1)]
            for _ in range(3):
                held = await client.create_transaction(ledger.id, entries, status="pending")
                await client.post_transaction(ledger.id, held.id)
            assert cuts.commits == 9
            written = await client.create_transaction(ledger.id, entries, external_id="first", metadata={"k": "v"})
            await client.update_transaction(ledger.id, written.id, external_id="second", metadata={"k": "w"})
            await client.get_account(ledger.id, one.id)
            assert cuts.commits == 11
