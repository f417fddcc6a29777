"""Which object is meant, and how the wire says it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ledger_client.v1.accounts_pb2 import Account
from ledger_client.v1.categories_pb2 import Category
from ledger_client.v1.transactions_pb2 import Transaction


@dataclass(frozen=True, slots=True)
class ExternalId:
    """Your own id of an account, transaction or category; accepted wherever an id of the ledger's is."""

    value: str


AccountRef = str | ExternalId | Account
"""An account by its id, by your own id, or as it was read."""
TransactionRef = str | ExternalId | Transaction
"""A transaction by its id, by your own id, or as it was read."""
CategoryRef = str | ExternalId | Category
"""A category by its id, by your own id, or as it was read."""


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


def name_account(message: _NamesAccount, account: AccountRef) -> None:
    """Fill the oneof that says which account is meant."""
    if isinstance(account, str):
        message.account_id = account
    elif isinstance(account, ExternalId):
        message.account_external_id = account.value
    else:
        message.account_id = account.id


def name_category(message: _NamesCategory, category: CategoryRef) -> None:
    """Fill the oneof that says which category is meant."""
    if isinstance(category, str):
        message.category_id = category
    elif isinstance(category, ExternalId):
        message.category_external_id = category.value
    else:
        message.category_id = category.id


def name_subject(message: _NamesEither, account: AccountRef | None, category: CategoryRef | None) -> None:
    """Fill the oneof that says which account or category is meant, if one is."""
    if account is not None:
        name_account(message, account)
    elif category is not None:
        name_category(message, category)


def category_ids(categories: Iterable[str | Category]) -> list[str]:
    """The ids of categories, where the wire takes no external ids."""
    return [category if isinstance(category, str) else category.id for category in categories]


def name_transaction(message: _NamesTransaction, transaction: TransactionRef) -> None:
    """Fill the oneof that says which transaction is meant."""
    if isinstance(transaction, str):
        message.transaction_id = transaction
    elif isinstance(transaction, ExternalId):
        message.transaction_external_id = transaction.value
    else:
        message.transaction_id = transaction.id
