"""What a verification says: how far it is, what is wrong, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class KnownDigest(NamedTuple):
    """What the log's digest at a position was, by the memory of somebody outside the database."""

    position: int
    digest: bytes


class Progress(NamedTuple):
    """How far a verification is: which check is under way, and the rows looked at in all of them.

    `fraction` is the part of the current check that is done, 0 to 1, estimated where it cannot be known.
    """

    check: str
    checks_done: int
    checks_total: int
    rows: int
    fraction: float


class Finding(NamedTuple):
    """A row that is wrong, by its table and key: what about it, what it should be, and what it is; "" for nothing."""

    table: str
    key: Mapping[str, str]
    problem: str
    expected: str
    found: str


class Verdict(NamedTuple):
    """What the books are, as of a position; its digest is worth keeping somewhere else.

    The log was verified from `checkpoint_position` on, the last event that was pruned. Not complete: there were more
    findings than asked for.
    """

    findings: int
    is_complete: bool
    position: int
    digest: bytes
    epoch: str
    checkpoint_position: int
    rows: int
