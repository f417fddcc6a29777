"""What callers ask of categories; see commands.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger_server.domain.commands import Command
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import MetadataPatch, Ref
from ledger_server.domain.model import Metadata, SummedOverlaps
from ledger_server.domain.money import NormalBalance


@dataclass(slots=True, kw_only=True)
class CreateCategory(Command):
    """`category_ids`: the categories it is put into."""

    method = "CreateCategory"

    name: str
    description: str
    normal_balance: NormalBalance
    currency: str
    currency_exponent: int | None
    external_id: str | None
    metadata: Metadata
    category_ids: tuple[str, ...] = ()
    category_id: str = field(default_factory=new_id, compare=False)


@dataclass(slots=True, kw_only=True)
class UpdateCategory(Command):
    """`external_id` "" removes it, None leaves it."""

    method = "UpdateCategory"

    category: Ref
    name: str | None
    description: str | None
    external_id: str | None
    metadata: MetadataPatch | None


@dataclass(slots=True, kw_only=True)
class DeleteCategory(Command):
    method = "DeleteCategory"

    category: Ref
    # Large overlaps, if there are any, summed before it came into its lane.
    summed: SummedOverlaps | None = field(default=None, init=False, compare=False)


@dataclass(slots=True, kw_only=True)
class AddCategoryMember(Command):
    """Exactly one of `account` and `member_category` is set."""

    method = "AddCategoryMember"

    category: Ref
    account: Ref | None
    member_category: Ref | None
    # As of DeleteCategory.
    summed: SummedOverlaps | None = field(default=None, init=False, compare=False)


@dataclass(slots=True, kw_only=True)
class RemoveCategoryMember(AddCategoryMember):
    method = "RemoveCategoryMember"


CategoryCommand = CreateCategory | UpdateCategory | DeleteCategory | AddCategoryMember
# Those of them that may nest categories, or take them apart.
NestingCommand = DeleteCategory | AddCategoryMember
