"""Requests about categories to commands, checked field by field."""

from __future__ import annotations

from ledger_client.v1 import categories_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.pieces import account_ref, category_ref, enum_of, joined_categories_of, mask_of
from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CreateCategory,
    DeleteCategory,
    RemoveCategoryMember,
    UpdateCategory,
)
from ledger_server.domain.inputs import Ref
from ledger_server.domain.money import NormalBalance


def create_category(request: categories_pb2.CreateCategoryRequest) -> CreateCategory:
    problems = Problems()
    exponent = request.currency_exponent if request.HasField("currency_exponent") else None
    if exponent is not None and not 0 <= exponent <= 30:
        problems.add("currency_exponent", "must be 0 to 30")
    command = CreateCategory(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        name=fields.text(problems, "name", request.name, required=True),
        description=fields.text(problems, "description", request.description),
        normal_balance=enum_of(problems, "normal_balance", request.normal_balance, NormalBalance),
        currency=fields.currency(problems, request.currency),
        currency_exponent=exponent,
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        category_ids=joined_categories_of(problems, request.category_ids),
    )
    problems.raise_if_any()
    return command


def update_category(request: categories_pb2.UpdateCategoryRequest) -> UpdateCategory:
    problems = Problems()
    changed, patch = mask_of(problems, request, ("name", "description", "external_id", "metadata"))
    command = UpdateCategory(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        category=category_ref(problems, request),
        name=fields.text(problems, "name", request.name, required=True) if "name" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        external_id=(
            fields.external_id(problems, "external_id", request.external_id) if "external_id" in changed else None
        ),
        metadata=patch,
    )
    problems.raise_if_any()
    return command


def delete_category(request: categories_pb2.DeleteCategoryRequest) -> DeleteCategory:
    problems = Problems()
    command = DeleteCategory(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        category=category_ref(problems, request),
    )
    problems.raise_if_any()
    return command


def add_category_member(request: categories_pb2.AddCategoryMemberRequest) -> AddCategoryMember:
    problems = Problems()
    account, member = _member(problems, request)
    command = AddCategoryMember(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        category=category_ref(problems, request),
        account=account,
        member_category=member,
    )
    problems.raise_if_any()
    return command


def remove_category_member(request: categories_pb2.RemoveCategoryMemberRequest) -> RemoveCategoryMember:
    problems = Problems()
    account, member = _member(problems, request)
    command = RemoveCategoryMember(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        category=category_ref(problems, request),
        account=account,
        member_category=member,
    )
    problems.raise_if_any()
    return command


def _member(
    problems: Problems, request: categories_pb2.AddCategoryMemberRequest | categories_pb2.RemoveCategoryMemberRequest
) -> tuple[Ref | None, Ref | None]:
    """The account or the category that a request's oneof names."""
    if request.WhichOneof("member") in ("member_category_id", "member_category_external_id"):
        return None, category_ref(problems, request, "member_")
    if request.WhichOneof("member") is None:
        problems.add("account_id", "is required, or account_external_id, member_category_id or its external id")
        return None, None
    return account_ref(problems, request), None
