"""How the demo looks: T-accounts, balances, and changes as they arrive."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import Box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ledger_client.money import from_minor_units
from ledger_client.v1.accounts_pb2 import Account
from ledger_client.v1.balances_pb2 import Balance, Direction, NormalBalance
from ledger_client.v1.streams_pb2 import BalanceChange, Event
from ledger_client.v1.transactions_pb2 import Entry, TransactionStatus

WIDTH = 100

# The line under an account's name and the one between its sides: a T.
_T = Box("    \n    \n ─┬ \n  │ \n  │ \n ─┼ \n  │ \n    \n")
_PENDING, _POSTED = "yellow", "green"


def money(balance: Balance | Entry) -> str:
    """The amount of a balance or entry, such as ``$190.00``."""
    amount = from_minor_units(balance.amount, balance.currency_exponent)
    sign, symbol = ("-" if amount < 0 else ""), ("$" if balance.currency == "USD" else f"{balance.currency} ")
    return f"{sign}{symbol}{abs(amount):,f}"


def heading(console: Console, title: str, told: str) -> None:
    """Begin a chapter."""
    console.print()
    console.print(Rule(Text(title, "bold cyan"), align="left", style="cyan"), width=_width(console))
    console.print(Text(told, "italic"), width=_width(console))
    console.print()


def call(console: Console, name: str, /, **arguments: str) -> None:
    """Show a call the way a program writes it."""
    shown = Text("  ledger.", "dim").append(name, "bold magenta").append("(", "dim")
    for number, (key, value) in enumerate(arguments.items()):
        shown.append(", " if number else "", "dim").append(f"{key}=", "dim").append(value)
    console.print(shown.append(")", "dim"), width=_width(console))


def entries(console: Console, lines: Iterable[tuple[str, str, int]]) -> None:
    """Show the entries of a transaction that is about to be written: side, account, cents."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_column(justify="right")
    for side, account, cents in lines:
        grid.add_row(side, account, f"${from_minor_units(cents, 2):,f}")
    console.print(Padding(grid, (0, 0, 0, 4)))


def arrived(console: Console, event: Event, names: Mapping[str, str]) -> None:
    """Show what a subscriber has just been told."""
    console.print(Text("  ▶ live ", "bold blue").append(f"position {event.position}", "blue"))
    grid = Table.grid(padding=(0, 2))
    for change in event.changes:
        version = Text(f"lock_version {change.lock_version - 1} → {change.lock_version}", "dim")
        grid.add_row(names[change.account_id], Text("\n").join(_moves(change)), version)
    console.print(Padding(grid, (0, 0, 0, 4)))


def _moves(change: BalanceChange) -> Iterable[Text]:
    for kind in ("pending", "posted", "available"):
        before, after = money(getattr(change.before, kind)), money(getattr(change.after, kind))
        if before != after:
            yield Text(f"{kind:<10}", "dim").append(f"{before:>8}").append(" → ", "dim").append(f"{after:>8}", "bold")


def books(
    console: Console, accounts: Sequence[Account], standing: Mapping[str, Sequence[Entry]], labels: Mapping[str, str]
) -> None:
    """Show all accounts: two T-accounts side by side, then the three balances of each."""
    ts = Table.grid(expand=True, padding=(0, 2))
    ts.add_column(ratio=1)
    ts.add_column(ratio=1)
    pictures = [_t_account(account, standing[account.id], labels) for account in accounts]
    for left, right in zip(pictures[::2], pictures[1::2], strict=True):
        ts.add_row(left, right)
        ts.add_row()
    legend = Text("◌ pending", _PENDING).append("   ● posted", _POSTED)
    console.print()
    console.print(Group(ts, legend), width=_width(console))
    console.print(_balances(accounts), width=_width(console))


def _t_account(account: Account, standing: Sequence[Entry], labels: Mapping[str, str]) -> RenderableType:
    sides: dict[int, list[Text]] = {Direction.DIRECTION_DEBIT: [], Direction.DIRECTION_CREDIT: []}
    for entry in standing:
        sides[entry.direction].append(_line(entry, labels[entry.transaction_id]))
    table = Table(
        title=Text(account.name, "bold"), box=_T, expand=True, show_edge=False, pad_edge=False, show_footer=True
    )
    for title, normal in (
        ("Debit", NormalBalance.NORMAL_BALANCE_DEBIT),
        ("Credit", NormalBalance.NORMAL_BALANCE_CREDIT),
    ):
        is_normal = account.normal_balance == normal
        total = Text(money(account.balances.posted) if is_normal else "", f"bold {_POSTED}")
        header = Text(f"{title} +" if is_normal else title, "dim")
        table.add_column(header, total, ratio=1, justify="right", no_wrap=True)
    debits, credits_ = sides[Direction.DIRECTION_DEBIT], sides[Direction.DIRECTION_CREDIT]
    for row in range(max(len(debits), len(credits_), 1)):
        table.add_row(*(side[row] if row < len(side) else Text() for side in (debits, credits_)))
    return table


def _line(entry: Entry, label: str) -> Text:
    is_posted = entry.status == TransactionStatus.TRANSACTION_STATUS_POSTED
    line = Text(f"{label} ", "dim").append(money(entry), _POSTED if is_posted else f"italic {_PENDING}")
    return line.append(" ●" if is_posted else " ◌", _POSTED if is_posted else _PENDING)


def _balances(accounts: Sequence[Account]) -> Table:
    table = Table(expand=True, header_style="dim", border_style="dim")
    table.add_column("Account (USD)", no_wrap=True)
    table.add_column("normal", style="dim")
    for kind in ("pending", "posted", "available"):
        table.add_column(kind, justify="right")
    table.add_column("lock_version", justify="right", style="dim")
    for account in accounts:
        is_debit = account.normal_balance == NormalBalance.NORMAL_BALANCE_DEBIT
        balances = (account.balances.pending, account.balances.posted, account.balances.available)
        amounts = (Text(money(balance), "bold" if int(balance.amount) else "dim") for balance in balances)
        table.add_row(account.name, "debit" if is_debit else "credit", *amounts, str(account.lock_version))
    return table


def _width(console: Console) -> int:
    return min(console.width, WIDTH)
