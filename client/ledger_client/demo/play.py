"""The tutorial, step by step: write, watch, read, compare."""

import asyncio
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from ledger_client.client import LedgerClient
from ledger_client.demo import picture, story
from ledger_client.demo.checks import Checks
from ledger_client.demo.story import Step
from ledger_client.demo.subscriber import Subscriber
from ledger_client.inputs import credit, debit
from ledger_client.names import ExternalId
from ledger_client.v1.accounts_pb2 import Account
from ledger_client.v1.ledgers_pb2 import Ledger
from ledger_client.v1.transactions_pb2 import Transaction


async def play(client: LedgerClient, console: Console, *, pause_seconds: float = 0.0) -> int:
    """Play the tutorial in a new ledger and compare every number with the story's.

    Args:
        client: of the service to play on.
        console: where to show it.
        pause_seconds: how long to stay on each step, for people.

    Returns:
        How many numbers differ; each is named on the console.
    """
    checks = Checks()
    picture.heading(console, "Rarebnb opens its books", "One ledger; four accounts, each with its normal side.")
    ledger = await client.create_ledger(
        "Rarebnb Ledger", description="Represents our funds and user balances", metadata={"productId": "rarebnb"}
    )
    picture.call(console, "create_ledger", name='"Rarebnb Ledger"')
    accounts = await _open_accounts(client, ledger, console)
    show = _Show(client, console, ledger, accounts, checks)
    await show.books()
    async with client.watch_balances(ledger.id, snapshot=True, heartbeat_interval=0.2) as stream:
        subscriber = Subscriber(stream, console, show.names)
        watching = asyncio.create_task(subscriber.run())
        try:
            for number, step in enumerate(story.STEPS, start=1):
                await asyncio.sleep(pause_seconds)
                picture.heading(console, f"{number} · {step.title}", step.told)
                transaction = await show.perform(step)
                await subscriber.reached(transaction.position, watching)
                show.state |= step.after
                await show.books()
            await subscriber.silence(watching)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    subscriber.compare(checks)
    _verdict(console, checks)
    return len(checks.differences)


async def _open_accounts(client: LedgerClient, ledger: Ledger, console: Console) -> dict[str, Account]:
    accounts = {}
    for plan in story.ACCOUNTS:
        picture.call(console, "create_account", name=f'"{plan.name}"', normal_balance=f'"{plan.normal_balance}"')
        accounts[plan.name] = await client.create_account(
            ledger.id,
            plan.name,
            description=plan.purpose,
            normal_balance=plan.normal_balance,
            currency="USD",
            external_id=plan.external_id,
            metadata=plan.metadata,
        )
    return accounts


class _Show:
    """The ledger of the demo, what it should hold, and the means to do and show things."""

    def __init__(
        self, client: LedgerClient, console: Console, ledger: Ledger, accounts: dict[str, Account], checks: Checks
    ) -> None:
        self.client = client
        self.console = console
        self.ledger_id = ledger.id
        self.accounts = accounts
        self.names: Mapping[str, str] = {account.id: name for name, account in accounts.items()}
        self.checks = checks
        self.state = dict(story.BEGINNING)
        self._labels: dict[str, str] = {}

    async def perform(self, step: Step) -> Transaction:
        """Do what the step says, by your own ids, as a service would that keeps none of the ledger's."""
        external_id = story.EXTERNAL_IDS[step.transaction]
        if step.command == "post":
            picture.call(self.console, "post_transaction", transaction=f'ExternalId("{external_id}")')
            transaction = await self.client.post_transaction(self.ledger_id, ExternalId(external_id))
        else:
            picture.call(self.console, "create_transaction", external_id=f'"{external_id}"', status='"pending"')
            entries = story.ENTRIES[step.transaction]
            picture.entries(self.console, entries)
            write = {"debit": debit, "credit": credit}
            transaction = await self.client.create_transaction(
                self.ledger_id,
                [write[side](self.accounts[name], cents) for side, name, cents in entries],
                status="pending",
                description=step.transaction,
                external_id=external_id,
                metadata=story.TRANSACTION_METADATA[step.transaction],
            )
        self._labels[transaction.id] = step.transaction.split()[-1]
        return transaction

    async def books(self) -> None:
        """Read all accounts at one position, show them, and compare their numbers."""
        read = await self.client.batch_get_accounts(self.ledger_id, [account.id for account in self.accounts.values()])
        entries = {
            account.id: [entry async for entry in self.client.entries(self.ledger_id, account=account)][::-1]
            for account in read.accounts
        }
        picture.books(self.console, read.accounts, entries, self._labels)
        known = len(self.checks.differences)
        for account in read.accounts:
            where = f"{account.name} at position {read.position}"
            self.checks.state(where, account.balances, account.lock_version, self.state[account.name])
        for difference in self.checks.differences[known:]:
            self.console.print(Text(f"  ✗ {difference}", "bold red"))
        if len(self.checks.differences) == known:
            self.console.print(Text("  ✓ as the story says", "green"))


def _verdict(console: Console, checks: Checks) -> None:
    console.print()
    if checks.differences:
        console.print(Text(f"✗ {len(checks.differences)} of {checks.made} checks differ:", "bold red"))
        for difference in checks.differences:
            console.print(Text(f"  {difference}", "red"))
    else:
        console.print(Text(f"✓ All {checks.made} checks hold.", "bold green"))
