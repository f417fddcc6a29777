"""What lists are filtered by."""

from __future__ import annotations

from ledger_server.api.fields import Problems
from ledger_server.api.filters import members_of
from ledger_server.domain.errors import Violation
from ledger_server.domain.model import ArchivedReason


def test_who_names_no_member_is_told_those_that_may_be_named() -> None:
    problems = Problems()
    assert members_of(problems, "archived_reasons", [9], ArchivedReason) == frozenset()
    told = "must be one of REQUESTED, CONDITION_FAILED, EXPIRED, FULLY_POSTED"
    assert problems.found == [Violation("archived_reasons[0]", told)]
