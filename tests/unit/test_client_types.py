"""The client's public types, as a project that has it installed sees them."""

import subprocess
import sys
from pathlib import Path

PROGRAM = '''\
"""Somebody's program."""

import asyncio
import datetime as dt
from decimal import Decimal

from ledger_client import (
    Account,
    BalanceStream,
    ConflatedChanges,
    Event,
    EventKind,
    ExternalId,
    ExternalIdTaken,
    Heartbeat,
    ImportSummary,
    LedgerClient,
    LimitExceeded,
    Outcome,
    Snapshot,
    Transaction,
    commands,
    condition,
    credit,
    debit,
    from_minor_units,
    limits,
    part_of,
    to_minor_units,
    written,
)


async def main() -> None:
    async with LedgerClient("127.0.0.1:50051", actor="me") as ledger:
        books = await ledger.create_ledger("books", metadata={"a": "b"})
        cash: Account = await ledger.create_account(books.id, "Cash", normal_balance="debit", currency="USD")
        amount = to_minor_units(Decimal("1.00"), cash.currency_exponent)
        outcome = Outcome()
        try:
            booked: Transaction = await ledger.create_transaction(
                books.id,
                [debit(cash, amount, conditions=[condition("available", ">=", 0)]), credit(ExternalId("r"), amount)],
                status="posted",
                effective_at=dt.datetime.now(dt.UTC),
                outcome=outcome,
            )
        except ExternalIdTaken as error:
            print(error.metadata["held_by"], error.violations, error.retry_delay)
            return
        except LimitExceeded as error:
            print([violation.shortfall or 0 for violation in error.violations if violation.balance == "available"])
            return
        replayed: bool = outcome.replayed
        await ledger.update_account(books.id, cash, status="frozen", limits=limits(available_min=0))
        await ledger.update_ledger(books.id, closed_before=None)
        await ledger.partial_post_transaction(books.id, booked, [part_of(booked.entries[0], 1), credit("a", 1)])
        await ledger.reverse_transaction(books.id, booked, entries=[debit(cash, 1), credit("a", 1)])
        summary: ImportSummary = await ledger.import_transactions(
            books.id,
            (commands.create_transaction([debit("a", n), credit("b", n)]) for n in range(10)),
            progress=lambda acknowledgement: print(acknowledgement.done_count),
        )
        print([(refusal.index, refusal.error.reason) for refusal in summary.refusals])
        results = await ledger.batch_write_transactions(
            books.id, [commands.post_transaction(booked, version=0), commands.archive_transaction("t")], atomic=False
        )
        print(replayed, [written(result).id for result in results.results])
        async for account in ledger.accounts(books.id, normal_balance="credit", page_size=10):
            text: Decimal = from_minor_units(account.balances.posted.amount, account.currency_exponent)
            print(text)
        stream: BalanceStream
        async with ledger.watch_balances(books.id, snapshot=True) as stream:
            async for message in stream:
                match message:
                    case Snapshot():
                        print(message.accounts[cash.id].lock_version + 1)
                    case Event():
                        print(message.changes[0].after.pending.amount.upper())
                    case ConflatedChanges():
                        print(message.changes[0].folded + message.first_position)
                    case Heartbeat():
                        break
        kinds = [EventKind.EVENT_KIND_ACCOUNT_CREATED]
        async with ledger.watch_events(books.id, kinds=kinds, transaction_metadata={"shop": "7"}) as events:
            async for happened in events:
                print(happened.account_id if isinstance(happened, Event) else happened.lag)
        async with ledger.follow_balances(books.id, account_ids=[cash.id]) as followed:
            balances = await followed.reached(booked.position, timeout=1)
            print(balances[cash.id].balances.available.amount, followed.position + 1)
        verified = await ledger.verify_ledger(books.id, progress=lambda told: print(told.check, told.fraction))
        print(verified.sound, [finding.key["position"] for finding in verified.findings], verified.digest.digest.hex())
        report = await ledger.get_trial_balance(books.id, as_of=dt.datetime.now(dt.UTC))
        print([total.posted.debit_balance.upper() for total in report.totals])
        async for explained in ledger.explained_entries(books.id, cash, "available"):
            print(explained.effect, explained.running.amount, explained.entry.id)


asyncio.run(main())
'''

MISTAKES = """\
from ledger_client import LedgerClient, condition, debit


async def main(ledger: LedgerClient) -> None:
    await ledger.create_account("l", "n", normal_balance="debt", currency="USD")
    debit("a", 1.5)
    condition("posted", "=", 0)
    await ledger.create_transaction("l", [], statuss="posted")
    (await ledger.get_account("l", "a")).balance
    await ledger.update_account("l", "a", status="frosted")
    await ledger.reverse_transaction("l", "t", expires_at=None)
    await ledger.import_transactions("l", ["t"])
"""


def mypy(directory: Path, source: str) -> str:
    (directory / "program.py").write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-color-output", "program.py"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False).stdout


def test_a_user_s_program_passes_mypy_strict(tmp_path: Path) -> None:
    output = mypy(tmp_path, PROGRAM)
    assert output.startswith("Success"), output


def test_a_user_s_mistakes_are_found(tmp_path: Path) -> None:
    output = mypy(tmp_path, MISTAKES)
    for line in range(5, 13):
        assert f"program.py:{line}: error" in output, output
