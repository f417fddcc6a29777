"""Lists by metadata that many objects have: the pairs stand in blocks of created positions, and change with edits."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Literal

import asyncpg

from ledger_client import LedgerClient, commands, credit, debit
from tests.audit import findings
from tests.conftest import Server
from tests.ledger_ids import number_of

COUNT = 700
ORDERS: tuple[Literal["created_asc", "created_desc"], ...] = ("created_asc", "created_desc")


async def test_what_many_have_is_listed_in_order_page_by_page_after_any_edit(
    client: LedgerClient, server: Server
) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = await client.create_ledger("Test")
    a, b = [
        await client.create_account(ledger.id, name, normal_balance="credit", currency="USD") for name in ("a", "b")
    ]
    entries = [debit(a, 1), credit(b, 1)]
    colours: dict[str, str] = {}
    for _ in range(3):
        drawn = [chance.choice(["red", "blue", "rare"][: chance.choice([1, 2, 3])]) for _ in range(COUNT // 3)]
        written = await client.batch_write_transactions(
            ledger.id, [commands.create_transaction(entries, metadata={"colour": colour}) for colour in drawn]
        )
        colours |= {result.transaction.id: colour for result, colour in zip(written.results, drawn, strict=True)}
    ids = list(colours)

    async def edit(transaction_id: str) -> None:
        colour = chance.choice(["red", "blue", "rare", ""])
        await client.update_transaction(ledger.id, transaction_id, metadata={"colour": colour} if colour else {})
        colours[transaction_id] = colour

    for each in chance.sample(ids, 150):
        await edit(each)
    # Again, some of them back to what they were; many at once share a batch.
    await asyncio.gather(*[edit(each) for each in chance.sample(ids, 150)])

    for colour in ("red", "blue", "rare"):
        expected = [each for each in ids if colours[each] == colour]
        for order in ORDERS:
            size = chance.choice([7, 50, 256])
            found = client.transactions(ledger.id, metadata={"colour": colour}, order=order, page_size=size)
            assert [each.id async for each in found] == (expected if order == "created_asc" else expected[::-1])
    connection = await asyncpg.connect(server.dsn)
    try:
        statement = "SELECT count(*) FROM metadata_pairs WHERE ledger_id = $1"
        rows = await connection.fetchval(statement, number_of(ledger.id))
    finally:
        await connection.close()
    assert rows <= 3 * (COUNT // 256 + 2), "a row for each colour in each block"
    assert await findings(server.dsn, ledger.id) == []
