"""Calls about categories."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.category_filters import CategoryFilters, list_categories_request
from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import BalanceTime, NormalBalanceWord, metadata_changes, normal_balance_value, time_fields
from ledger_client.messages import message
from ledger_client.names import AccountRef, CategoryRef, ExternalId, category_ids, name_account, name_category
from ledger_client.v1.balances_pb2 import NormalBalance
from ledger_client.v1.categories_pb2 import (
    AddCategoryMemberRequest,
    Category,
    CreateCategoryRequest,
    DeleteCategoryRequest,
    GetCategoryRequest,
    ListCategoriesResponse,
    RemoveCategoryMemberRequest,
    UpdateCategoryRequest,
)


class CategoryCalls(Connection):
    """What can be asked about categories."""

    async def create_category(
        self,
        ledger_id: str,
        name: str,
        *,
        normal_balance: NormalBalanceWord | NormalBalance.ValueType,
        currency: str,
        currency_exponent: int | None = None,
        description: str = "",
        external_id: str = "",
        metadata: Mapping[str, str] | None = None,
        parents: Iterable[str | Category] = (),
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Category:
        """Create an empty category.

        Args:
            ledger_id: the ledger that will hold it.
            name: 1..1,000 characters.
            normal_balance: the side on which its amounts grow: "debit" or "credit".
            currency: of the accounts and categories in it.
            currency_exponent: see ``create_account``.
            description: up to 1,000 characters.
            external_id: your own id, up to 180 characters, unique among the ledger's categories that are not deleted.
            metadata: up to 50 keys, 16 KiB together.
            parents: the categories it is put into, or their ids.
            request_id: your own for this call; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            LedgerNotFound: no such ledger.
            ExternalIdTaken: another category has the external id.
            CategoryNotFound: a parent is not in this ledger.
            CategoryCurrencyMismatch: a parent is of another currency.
            CategoryTooDeep: it would be the sixth level.
        """
        request = message(
            CreateCategoryRequest,
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            name=name,
            description=description,
            normal_balance=normal_balance_value(normal_balance),
            currency=currency,
            currency_exponent=currency_exponent,
            external_id=external_id,
            metadata=metadata,
            category_ids=category_ids(parents),
        )
        return await self._call(self.stub.CreateCategory, request, timeout, outcome)

    async def get_category(
        self,
        ledger_id: str,
        category: CategoryRef,
        *,
        min_position: int | None = None,
        timeout: float | None = None,
        **time: Unpack[BalanceTime],
    ) -> Category:
        """Read a category with its balances, now or as of another time; ``time`` as in ``get_account``.

        Which accounts are under it is what was known then, too. By effective time they are summed one by one, so a
        category of very many needs a longer ``timeout``.

        Raises:
            CategoryNotFound: no such category in this ledger, or it is deleted.
            PositionInFuture: the ledger is not at ``as_of_position`` yet.
            PositionPruned: the log does not reach back to ``known_at``.
        """
        request = message(GetCategoryRequest, ledger_id=ledger_id, min_position=min_position, **time_fields(time))
        name_category(request, category)
        return await self._call(self.stub.GetCategory, request, timeout)

    async def list_categories(
        self,
        ledger_id: str,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[CategoryFilters],
    ) -> ListCategoriesResponse:
        """One page of a ledger's categories, oldest first; ``page_token`` is that of the page before."""
        request = list_categories_request(ledger_id, filters, page_token)
        return await self._call(self.stub.ListCategories, request, timeout)

    async def categories(self, ledger_id: str, **filters: Unpack[CategoryFilters]) -> AsyncIterator[Category]:
        """All categories of a ledger that pass the filters, oldest first, page by page."""
        query = list_categories_request(ledger_id, filters)
        async for page in self._pages(self.stub.ListCategories, query):
            for category in page.categories:
                yield category

    async def update_category(
        self,
        ledger_id: str,
        category: CategoryRef,
        *,
        name: str | None = None,
        description: str | None = None,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        metadata_patch: Mapping[str, str | None] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Category:
        """Change those of a category's fields that are given.

        Args:
            ledger_id: the ledger that holds it.
            category: which category.
            name: the new name.
            description: the new description; empty removes it.
            external_id: the new external id; empty removes it.
            metadata: replaces all of it.
            metadata_patch: sets these keys and removes those whose value is None; not together with metadata.
            request_id: see ``create_category``, and so for the rest.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            CategoryNotFound: no such category in this ledger, or it is deleted.
            ExternalIdTaken: another category has the external id.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        changes = {"name": name, "description": description, "external_id": external_id}
        request = message(
            UpdateCategoryRequest,
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            name=name or "",
            description=description or "",
            external_id=external_id or "",
            metadata=values,
            update_mask=FieldMask(paths=[field for field, new in changes.items() if new is not None] + paths),
        )
        name_category(request, category)
        return await self._call(self.stub.UpdateCategory, request, timeout, outcome)

    async def delete_category(
        self,
        ledger_id: str,
        category: CategoryRef,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Category:
        """Delete a category for good; what is in it stays and is no longer in it.

        Raises:
            CategoryNotFound: no such category in this ledger, or it is deleted already.
        """
        request = message(DeleteCategoryRequest, ledger_id=ledger_id, request_id=request_id or new_request_id())
        name_category(request, category)
        return await self._call(self.stub.DeleteCategory, request, timeout, outcome)

    async def add_category_member(
        self,
        ledger_id: str,
        category: CategoryRef,
        *,
        account: AccountRef | None = None,
        member_category: CategoryRef | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Category:
        """Put an account or a category into a category; answers the category with its new balances.

        A category that shares very many accounts with what is there takes seconds for each 100,000 of them: give a
        longer ``timeout``, or after DeadlineExceeded repeat the call with the same ``request_id``.

        Args:
            ledger_id: the ledger that holds both.
            category: into which.
            account: what is put into it; this or member_category.
            member_category: what is put into it.
            request_id: see ``create_category``, and so for the rest.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            CategoryNotFound, AccountNotFound: one of them is not in this ledger.
            CategoryCurrencyMismatch: they are of different currencies.
            CategoryCycle: the category would be above itself.
            CategoryTooDeep: more than five levels would arise.
        """
        request = message(AddCategoryMemberRequest, ledger_id=ledger_id, request_id=request_id or new_request_id())
        _name_both(request, category, account, member_category)
        return await self._call(self.stub.AddCategoryMember, request, timeout, outcome)

    async def remove_category_member(
        self,
        ledger_id: str,
        category: CategoryRef,
        *,
        account: AccountRef | None = None,
        member_category: CategoryRef | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Category:
        """Take an account or a category out of a category; answers the category with its new balances.

        The arguments are those of ``add_category_member``.

        Raises:
            CategoryNotFound, AccountNotFound: one of them is not in this ledger.
            CategoryMemberNotFound: it is not directly in the category.
        """
        request = message(RemoveCategoryMemberRequest, ledger_id=ledger_id, request_id=request_id or new_request_id())
        _name_both(request, category, account, member_category)
        return await self._call(self.stub.RemoveCategoryMember, request, timeout, outcome)


def _name_both(
    request: AddCategoryMemberRequest | RemoveCategoryMemberRequest,
    category: CategoryRef,
    account: AccountRef | None,
    member_category: CategoryRef | None,
) -> None:
    """Fill the oneofs that say which category and which member are meant.

    Raises:
        ValueError: not exactly one member is given.
    """
    name_category(request, category)
    if (account is None) == (member_category is None):
        raise ValueError("give an account or a member_category, one of them")
    if account is not None:
        name_account(request, account)
    elif isinstance(member_category, ExternalId):
        request.member_category_external_id = member_category.value
    elif member_category is not None:
        request.member_category_id = member_category if isinstance(member_category, str) else member_category.id
