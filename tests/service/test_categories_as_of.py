"""Lists of categories as of a time, and a time that the log does not reach back to; else test_balances_over_time.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

import ledger_client as lc
from ledger_client import Ledger, LedgerClient, credit, debit
from ledger_server.reading import categories as reading
from tests.conftest import Server
from tests.ledger_ids import number_of

SUNDAY, DAY = datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=1)


@pytest.mark.parametrize("is_any_left", [False, True])
async def test_a_time_before_a_pruned_log_begins_is_refused_and_later_ones_are_answered(
    client: LedgerClient, ledger: Ledger, server: Server, is_any_left: bool
) -> None:
    category = await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD")
    one, other = [
        await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=categories)
        for categories in ([category], [])
    ]
    paid = await client.create_transaction(ledger.id, [debit(other, 5), credit(one, 5)], status="posted")
    connection = await asyncpg.connect(server.dsn)
    try:
        number = number_of(ledger.id)
        now = await connection.fetchval("SELECT event_time FROM ledgers WHERE ledger_id = $1", number)
        pruned = paid.position - is_any_left
        await connection.execute("DELETE FROM events WHERE ledger_id = $1 AND position <= $2", number, pruned)
    finally:
        await connection.close()
    read = await client.get_category(ledger.id, category, known_at=now)
    assert read.balances.posted.amount == "5"
    then = now - timedelta(microseconds=1)
    for read_then in (
        client.get_category(ledger.id, category, known_at=then),
        client.list_categories(ledger.id, known_at=then),
    ):
        with pytest.raises(lc.PositionPruned) as caught:
            await read_then
        assert caught.value.metadata == {"oldest_position": str(pruned + 1)}


@pytest.mark.parametrize("page_seconds", [0.0, 1.0])
async def test_a_list_of_categories_is_of_one_time_however_its_pages_end(
    client: LedgerClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, page_seconds: float
) -> None:
    monkeypatch.setattr(reading, "PAGE_SECONDS", page_seconds)
    categories = [
        await client.create_category(ledger.id, str(n), normal_balance="credit", currency="USD") for n in range(5)
    ]
    one, other = [
        await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=within)
        for within in (categories[1:3], categories[2:4])
    ]
    for days, amount in enumerate((1, 10, 100)):
        await client.create_transaction(
            ledger.id, [debit(other, amount), credit(one, amount)], status="posted", effective_at=SUNDAY + days * DAY
        )
    then = (await client.get_ledger(ledger.id)).position
    late = await client.create_category(ledger.id, "late", normal_balance="credit", currency="USD")
    await client.add_category_member(ledger.id, late, account=one)

    async def amounts(**when: Any) -> list[int]:
        listed = [each async for each in client.categories(ledger.id, **when)]
        assert [each.id for each in listed] == [each.id for each in (*categories, late)]
        return [int(each.balances.posted.amount) for each in listed]

    assert await amounts() == [0, 111, 0, -111, 0, 111]
    assert await amounts(as_of_position=then) == [0, 111, 0, -111, 0, 0]
    assert await amounts(as_of=SUNDAY + DAY) == [0, 11, 0, -11, 0, 11]
    assert await amounts(as_of=SUNDAY + DAY, as_of_position=then) == [0, 11, 0, -11, 0, 0]
    assert await amounts(effective_at_lower_bound=SUNDAY + DAY) == [0, 110, 0, -110, 0, 110]
    page = await client.list_categories(ledger.id, as_of=SUNDAY)
    assert len(page.categories) == (1 if page_seconds == 0 else 6)
    with pytest.raises(lc.PositionInFuture):
        await client.list_categories(ledger.id, as_of_position=then + 1_000)
