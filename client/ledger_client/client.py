"""The client: every call of the service, noun by noun."""

from ledger_client.accounts import AccountCalls
from ledger_client.auditing import AuditCalls
from ledger_client.categories import CategoryCalls
from ledger_client.entries import EntryCalls
from ledger_client.following import FollowCalls
from ledger_client.importing import ImportCalls
from ledger_client.ledgers import LedgerCalls
from ledger_client.monitors import MonitorCalls
from ledger_client.reports import ReportCalls
from ledger_client.transactions import TransactionCalls


class LedgerClient(
    LedgerCalls,
    AccountCalls,
    TransactionCalls,
    ImportCalls,
    EntryCalls,
    CategoryCalls,
    MonitorCalls,
    ReportCalls,
    FollowCalls,
    AuditCalls,
):
    """A client of the ledger service, for one event loop::

        async with LedgerClient("127.0.0.1:50051", actor="bookings") as ledger:
            books = await ledger.create_ledger("Rarebnb")
            cash = await ledger.create_account(books.id, "Cash", normal_balance="debit", currency="USD")
            revenue = await ledger.create_account(books.id, "Revenue", normal_balance="credit", currency="USD")
            await ledger.create_transaction(
                books.id, [debit(cash, 1000), credit(revenue, 1000)], status="posted", external_id="booking-1"
            )
            async for account in ledger.accounts(books.id):
                print(account.name, account.balances.posted.amount)

    One client is enough for a process: calls share its connection, and transactions that are written to a ledger at the
    same time share calls (see batching.py). Every call has a deadline, is repeated when the
    server is unavailable, and returns the generated message or raises a LedgerError. A write's ``request_id`` is
    made once for the call, so repeats have one effect; pass your own to be able to repeat the call yourself.
    """
