"""A misspelt keyword is refused, as Python does it, and not lost, and with it a transaction's conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger_client import LedgerClient, commands

CALLS: dict[str, Callable[..., Any]] = {
    "create_transaction": lambda **given: commands.create_transaction([], **given),
    "update_transaction": lambda **given: commands.update_transaction("t", **given),
    "post_transaction": lambda **given: commands.post_transaction("t", **given),
    "partial_post_transaction": lambda **given: commands.partial_post_transaction("t", [], **given),
    "reverse_transaction": lambda **given: commands.reverse_transaction("t", **given),
    "archive_transaction": lambda **given: commands.archive_transaction("t", **given),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_command_has_no_other_fields(name: str) -> None:
    CALLS[name](request_id="r")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'request_ids'; there are .*request_id"):
        CALLS[name](request_ids="r")


@pytest.mark.parametrize(
    "read",
    [
        lambda client, given: client.create_transaction("l", [], **given),
        lambda client, given: client.get_account("l", "a", **given),
        lambda client, given: client.batch_get_accounts("l", ["a"], **given),
        lambda client, given: client.get_category("l", "c", **given),
        lambda client, given: client.get_trial_balance("l", **given),
        lambda client, given: client.explain_balance("l", "a", **given),
        lambda client, given: client.list_ledgers(**given),
        lambda client, given: client.list_accounts("l", **given),
        lambda client, given: client.list_account_versions("l", "a", **given),
        lambda client, given: client.list_transactions("l", **given),
        lambda client, given: client.list_transaction_versions("l", "t", **given),
        lambda client, given: client.list_entries("l", **given),
        lambda client, given: client.list_categories("l", **given),
        lambda client, given: client.list_balance_monitors("l", **given),
    ],
)
async def test_a_call_has_no_other_keywords(read: Callable[[LedgerClient, dict[str, Any]], Any]) -> None:
    async with LedgerClient("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="unexpected keyword argument 'efective_at'"):
            await read(client, {"efective_at": None})
