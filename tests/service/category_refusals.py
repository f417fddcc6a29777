"""What is refused about categories: the rows of the refusal table in test_refusals.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client.v1 import accounts_pb2, balances_pb2, categories_pb2, transactions_pb2
from tests.service.raw import request_id
from tests.service.refusing import UNKNOWN_ID, Books, Condition

FAILING = Condition(balance=balances_pb2.BALANCE_KIND_POSTED, operator=balances_pb2.OPERATOR_LT, amount="-1")


class Row(NamedTuple):
    """As `Case` of test_refusals.py."""

    sentence: str
    method: str
    request: Callable[[Books], Message]
    code: str
    reason: str
    named: str
    stored: bool


def field(sentence: str, method: str, request: Callable[[Books], Message], named: str) -> Row:
    return Row(sentence, method, request, "INVALID_ARGUMENT", "INVALID_FIELD", named, False)


def not_found(
    sentence: str, method: str, request: Callable[[Books], Message], named: str, *, stored: bool = True
) -> Row:
    return Row(sentence, method, request, "NOT_FOUND", "CATEGORY_NOT_FOUND", named, stored)


def failed(sentence: str, method: str, request: Callable[[Books], Message], reason: str, named: str) -> Row:
    return Row(sentence, method, request, "FAILED_PRECONDITION", reason, named, True)


def get(books: Books, **more: Any) -> categories_pb2.GetCategoryRequest:
    return categories_pb2.GetCategoryRequest(ledger_id=books.ledger_id, **more)


def listing(books: Books, **more: Any) -> categories_pb2.ListCategoriesRequest:
    return categories_pb2.ListCategoriesRequest(ledger_id=books.ledger_id, **more)


def conditions(**category: str) -> list[categories_pb2.CategoryCondition]:
    return [categories_pb2.CategoryCondition(conditions=[FAILING], **category)]


ROWS = [
    field("a category without a name", "CreateCategory", lambda b: b.category(name=""), "name"),
    field("a category without a normality", "CreateCategory", lambda b: b.category(normal_balance=0), "normal_balance"),
    field("a category of no currency", "CreateCategory", lambda b: b.category(currency=""), "currency"),
    field(
        "a category of an exponent that ISO does not give",
        "CreateCategory",
        lambda b: b.category(currency_exponent=3),
        "currency_exponent",
    ),
    field(
        "a category of a currency of one's own without its exponent",
        "CreateCategory",
        lambda b: b.category(currency="MILES"),
        "currency_exponent",
    ),
    field(
        "a category in something that is no id",
        "CreateCategory",
        lambda b: b.category(category_ids=["x"]),
        "category_ids[0]",
    ),
    field(
        "an account in more categories than allowed",
        "CreateAccount",
        lambda b: b.account(category_ids=[UNKNOWN_ID] * 101),
        "category_ids",
    ),
    field(
        "a category's update of an unknown field",
        "UpdateCategory",
        lambda b: b.update_category(update_mask=FieldMask(paths=["currency"])),
        "update_mask",
    ),
    field("a member that nobody names", "AddCategoryMember", lambda b: b.join(b.top), "account_id"),
    field(
        "a member's category that nobody names",
        "RemoveCategoryMember",
        lambda b: categories_pb2.RemoveCategoryMemberRequest(
            ledger_id=b.ledger_id, request_id=request_id(), account_id=b.cash
        ),
        "category_id",
    ),
    field("a deletion of no category", "DeleteCategory", lambda b: b.delete_category(""), "category_id"),
    field("a category of no name asked for", "GetCategory", lambda b: get(b), "category_id"),
    field(
        "a category at a negative position",
        "GetCategory",
        lambda b: get(b, category_id=b.top, as_of_position=-1),
        "as_of_position",
    ),
    field(
        "a category at an instant and in a window",
        "GetCategory",
        lambda b: get(b, category_id=b.top, as_of=Timestamp(), effective_at_upper_bound=Timestamp()),
        "as_of",
    ),
    field(
        "a category's window that ends before it begins",
        "GetCategory",
        lambda b: get(
            b,
            category_id=b.top,
            effective_at_lower_bound=Timestamp(seconds=1),
            effective_at_upper_bound=Timestamp(),
        ),
        "effective_at_upper_bound",
    ),
    field(
        "two answers to what was known of a category",
        "GetCategory",
        lambda b: get(b, category_id=b.top, as_of_position=1, known_at=Timestamp()),
        "known_at",
    ),
    field(
        "a list of what is no category's id",
        "ListCategories",
        lambda b: listing(b, ids=["x"]),
        "ids[0]",
    ),
    field(
        "two answers to what was known of listed categories",
        "ListCategories",
        lambda b: listing(b, as_of_position=1, known_at=Timestamp()),
        "known_at",
    ),
    field(
        "the parents of what is no category's id",
        "ListCategories",
        lambda b: listing(b, member_category_id="x"),
        "member_category_id",
    ),
    field(
        "more conditions on categories than allowed",
        "CreateTransaction",
        lambda b: b.create(category_conditions=conditions(category_id=b.top) * 101),
        "category_conditions",
    ),
    field(
        "a condition on no category",
        "CreateTransaction",
        lambda b: b.create(category_conditions=conditions()),
        "category_conditions[0].category_id",
    ),
    field(
        "a category that nothing is demanded of",
        "CreateTransaction",
        lambda b: b.create(category_conditions=[categories_pb2.CategoryCondition(category_id=b.top)]),
        "category_conditions[0].conditions",
    ),
    Row(
        "a page of categories with a token of another list",
        "ListCategories",
        lambda b: listing(b, page_token=b.accounts_page_token),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
        "",
        False,
    ),
    Row(
        "a category at a position of the future",
        "GetCategory",
        lambda b: get(b, category_id=b.top, as_of_position=10**9),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
        False,
    ),
    not_found(
        "an unknown category", "GetCategory", lambda b: get(b, category_id=UNKNOWN_ID), "category_id", stored=False
    ),
    not_found(
        "another ledger's category",
        "GetCategory",
        lambda b: get(b, category_id=b.foreign_category),
        "category_id",
        stored=False,
    ),
    not_found(
        "a category by an external id that nobody has",
        "GetCategory",
        lambda b: get(b, category_external_id="nobody"),
        "category_external_id=nobody",
        stored=False,
    ),
    not_found(
        "a new account in another ledger's category",
        "CreateAccount",
        lambda b: b.account(category_ids=[b.foreign_category]),
        "category_id",
    ),
    not_found(
        "a new category in another ledger's",
        "CreateCategory",
        lambda b: b.category(category_ids=[b.foreign_category]),
        "category_id",
    ),
    not_found(
        "another ledger's category changed",
        "UpdateCategory",
        lambda b: b.update_category(category_id=b.foreign_category, name="x"),
        "category_id",
    ),
    not_found(
        "another ledger's category deleted",
        "DeleteCategory",
        lambda b: b.delete_category(b.foreign_category),
        "category_id",
    ),
    not_found(
        "a member of another ledger's category",
        "AddCategoryMember",
        lambda b: b.join(b.foreign_category, account_id=b.cash),
        "category_id",
    ),
    not_found(
        "another ledger's category as a member",
        "AddCategoryMember",
        lambda b: b.join(b.top, member_category_id=b.foreign_category),
        "member_category_id",
    ),
    Row(
        "another ledger's account as a member",
        "AddCategoryMember",
        lambda b: b.join(b.top, account_id=b.foreign_account),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
        True,
    ),
    Row(
        "an account that is in the category only through another one taken out",
        "RemoveCategoryMember",
        lambda b: b.leave(b.top, account_id=b.cash),
        "NOT_FOUND",
        "CATEGORY_MEMBER_NOT_FOUND",
        "account_id",
        True,
    ),
    Row(
        "a category that is in the category only through another one taken out",
        "RemoveCategoryMember",
        lambda b: b.leave(b.top, member_category_id=b.lowest),
        "NOT_FOUND",
        "CATEGORY_MEMBER_NOT_FOUND",
        "member_category_id",
        True,
    ),
    not_found(
        "a condition on another ledger's category",
        "CreateTransaction",
        lambda b: b.create(category_conditions=conditions(category_id=b.foreign_category)),
        "category_id",
    ),
    not_found(
        "a condition on an unknown category at a posting",
        "PostTransaction",
        lambda b: b.post(b.pending, category_conditions=conditions(category_external_id="nobody")),
        "category_external_id=nobody",
    ),
    failed(
        "an account of another currency as a member",
        "AddCategoryMember",
        lambda b: b.join(b.top, account_id=b.euros),
        "CATEGORY_CURRENCY_MISMATCH",
        "currency=USD",
    ),
    failed(
        "a new account of another currency in a category",
        "CreateAccount",
        lambda b: b.account(currency="EUR", category_ids=[b.top]),
        "CATEGORY_CURRENCY_MISMATCH",
        "category_id",
    ),
    failed(
        "a new category of another currency in a category",
        "CreateCategory",
        lambda b: b.category(currency="EUR", category_ids=[b.top]),
        "CATEGORY_CURRENCY_MISMATCH",
        "category_id",
    ),
    failed(
        "a category put into itself",
        "AddCategoryMember",
        lambda b: b.join(b.top, member_category_id=b.top),
        "CATEGORY_CYCLE",
        "member_category_id",
    ),
    failed(
        "a category put under itself",
        "AddCategoryMember",
        lambda b: b.join(b.lowest, member_category_external_id="held"),
        "CATEGORY_CYCLE",
        "category_id",
    ),
    failed(
        "a sixth level of categories",
        "CreateCategory",
        lambda b: b.category(category_ids=[b.lowest]),
        "CATEGORY_TOO_DEEP",
        "levels=6",
    ),
    Row(
        "a category's external id that is taken",
        "CreateCategory",
        lambda b: b.category(external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
        True,
    ),
    Row(
        "a category's external id changed to one that is taken",
        "UpdateCategory",
        lambda b: b.update_category(category_id=b.lowest, external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
        True,
    ),
    failed(
        "a condition on a category that fails",
        "CreateTransaction",
        lambda b: b.create(category_conditions=conditions(category_id=b.top)),
        "CONDITION_FAILED",
        "CATEGORY_CONDITION",
    ),
    failed(
        "a condition on a category, by its external id, that fails at an update that moves nothing",
        "UpdateTransaction",
        lambda b: b.update(b.pending, description="new", category_conditions=conditions(category_external_id="held")),
        "CONDITION_FAILED",
        "CATEGORY_CONDITION",
    ),
    not_found(
        "accounts under no category",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, category_id=UNKNOWN_ID),
        "category_id",
        stored=False,
    ),
    not_found(
        "transactions of accounts under no category",
        "ListTransactions",
        lambda b: transactions_pb2.ListTransactionsRequest(ledger_id=b.ledger_id, category_id=UNKNOWN_ID),
        "category_id",
        stored=False,
    ),
    not_found(
        "categories in an unknown one",
        "ListCategories",
        lambda b: listing(b, parent_category_id=UNKNOWN_ID),
        "category_id",
        stored=False,
    ),
    not_found(
        "the categories that an unknown one is in",
        "ListCategories",
        lambda b: listing(b, member_category_id=UNKNOWN_ID),
        "category_id",
        stored=False,
    ),
    Row(
        "categories that an unknown account is under",
        "ListCategories",
        lambda b: listing(b, account_id=UNKNOWN_ID),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        f"account_id={UNKNOWN_ID}",
        False,
    ),
    field(
        "accounts under something that is no category's id",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, category_id="x"),
        "category_id",
    ),
]
