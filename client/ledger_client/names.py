"""Which object is meant, and how the wire says it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ledger_client.messages import demand
from ledger_client.v1.accounts_pb2 import Account
from ledger_client.v1.categories_pb2 import Category
from ledger_client.v1.transactions_pb2 import Transaction


@dataclass(frozen=True, slots=True)
class ExternalId:
    """Your own id of an account, transaction or category; accepted wherever an id of the ledger's is."""

    value: str

    def __post_init__(self) -> None:
        """A number, say, is refused here, where it comes from."""
        demand("an external id", self.value, str)


AccountRef = str | ExternalId | Account
"""An account by its id, by your own id, or as it was read."""
TransactionRef = str | ExternalId | Transaction
"""A transaction by its id, by your own id, or as it was read."""
CategoryRef = str | ExternalId | Category
"""A category by its id, by your own id, or as it was read."""


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasId)


class _NamesLedger(Protocol):
    ledger_id: str


class _NamesAccount(Protocol):
    account_id: str
    account_external_id: str


class _NamesCategory(Protocol):
    category_id: str
    category_external_id: str


class _NamesEither(_NamesAccount, _NamesCategory, Protocol):
    """What is on an account or on a category."""


class _NamesTransaction(Protocol):
    transaction_id: str
    transaction_external_id: str


def id_of(argument: str, named: str | _Named, kind: type[_Named], *or_kinds: type) -> str:
    """The id of what was read, or the id itself.

    Raises:
        TypeError: it is neither; the message names the argument, and what else it may be.
    """
    if isinstance(named, str):
        return named
    demand(argument, named, str, kind, *or_kinds)
    return named.id


def name_ledger(message: _NamesLedger, ledger_id: str) -> None:
    """Fill the field that says which ledger is meant."""
    demand("ledger_id", ledger_id, str)
    message.ledger_id = ledger_id


def name_account(message: _NamesAccount, account: AccountRef) -> None:
    """Fill the oneof that says which account is meant."""
    if isinstance(account, ExternalId):
        message.account_external_id = account.value
    else:
        message.account_id = id_of("account", account, Account, ExternalId)


def name_category(message: _NamesCategory, category: CategoryRef) -> None:
    """Fill the oneof that says which category is meant."""
    if isinstance(category, ExternalId):
        message.category_external_id = category.value
    else:
        message.category_id = id_of("category", category, Category, ExternalId)


def name_subject(message: _NamesEither, account: AccountRef | None, category: CategoryRef | None) -> None:
    """Fill the oneof that says which account or category is meant, if one is."""
    if account is not None:
        name_account(message, account)
    elif category is not None:
        name_category(message, category)


def category_ids(categories: Iterable[str | Category]) -> list[str]:
    """The ids of categories, where the wire takes no external ids."""
    return [id_of("a category", category, Category) for category in categories]


def name_transaction(message: _NamesTransaction, transaction: TransactionRef) -> None:
    """Fill the oneof that says which transaction is meant."""
    if isinstance(transaction, ExternalId):
        message.transaction_external_id = transaction.value
    else:
        message.transaction_id = id_of("transaction", transaction, Transaction, ExternalId)
