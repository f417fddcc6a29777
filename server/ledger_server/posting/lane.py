"""A lane: one ledger's queue, what is remembered of the ledger, and how it stands with the database.

`Lanes` fills the queue and says which lane is next, a worker empties it and remembers. Both run in one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ledger_server.domain.book import Book
from ledger_server.domain.commands import Command
from ledger_server.posting.admission import Crowd
from ledger_server.posting.batch import COMMIT_ENTRIES_MAX
from ledger_server.posting.drafts import Draft
from ledger_server.posting.repeats import Answer

# Of several calls in one commit.
COMMIT_COMMANDS_MAX = 1_000
# A batch is drafted beside the one that is being written only if so many commands wait for it: for fewer, the gain is
# less than the commit that it costs.
BESIDE_COMMANDS_MIN = 16
# Memory is bounded: a lane that knows more than this forgets, and loads again what is needed. In units of Book.size.
REMEMBERED_SIZE_MAX = 24_000
# All that are remembered are gone through after each batch.
REMEMBERED_TRANSACTIONS_MAX = 2_000
# How many times as much may be known while batches are drafted, so that there is room for what is not pending.
DRAFTED_TIMES = 2
# How much a lane takes that remembers nothing, in units of Book.size.
LANE_SIZE = 8


class Ticket(NamedTuple):
    """The commands of one call, in order, and where their answers go."""

    commands: Sequence[Command]
    answers: asyncio.Future[list[Answer]]
    arrived: float
    # In the request; what is written of it may be more.
    entry_count: int
    # A batch of its own.
    is_alone: bool
    # To the call's earlier commands, which other commits had room for.
    answered: list[Answer]


class Flight:
    """A drafted batch on its way into the database; meanwhile the next may be drafted on what it leaves behind."""

    def __init__(self, draft: Draft, count: int) -> None:
        self.draft = draft
        self.count = count
        # Whether it was written as it was drafted.
        self.landed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Lane:
    """One ledger's queue, and what is remembered of the ledger."""

    def __init__(self, ledger_id: int) -> None:
        self.ledger_id = ledger_id
        self.tickets: deque[Ticket] = deque()
        # The commands in them.
        self.waiting = 0
        self.crowd = Crowd()
        # In the line for a worker.
        self.is_scheduled = False
        # How many workers have got it: a second one drafts its next batch while the first writes one.
        self.workers = 0
        self.flight: Flight | None = None
        self.book: Book | None = None
        # The epoch and position at which it left the ledger; if it finds it elsewhere, another server writes it too.
        self.left_at: tuple[str, int] | None = None
        # Until then, other servers are taken to.
        self.shared_until = 0.0
        # Until then, callers are taken to repeat themselves.
        self.repeated_until = 0.0
        # When the database went away, if it has not been back since.
        self.lost_at: float | None = None

    def admit(self, now: float) -> None:
        """Raises Overloaded if one call more should not wait."""
        if self.tickets and self.lost_at is None:
            self.crowd.refuse(len(self.tickets), self.tickets[0].arrived, now)

    def take(self) -> list[Ticket]:
        """The next batch: tickets that still have somebody waiting, up to the limits, at least one if there is any."""
        batch: list[Ticket] = []
        commands = entries = 0
        while self.tickets:
            ticket = self.tickets[0]
            if not ticket.answers.done():
                commands += len(ticket.commands)
                entries += ticket.entry_count
                is_full = commands > COMMIT_COMMANDS_MAX or entries > COMMIT_ENTRIES_MAX
                if batch and (is_full or ticket.is_alone or batch[0].is_alone):
                    break
                batch.append(ticket)
            self.tickets.popleft()
            self.waiting -= len(ticket.commands)
        if batch and self.lost_at is None:
            self.crowd.is_served(batch[0].arrived, time.monotonic())
        return batch

    def put_back(self, batch: Sequence[Ticket], count: int) -> None:
        """What is left of a batch once so many of its commands are taken waits again.

        Calls of which nothing was taken are where they were, in front. A call that was begun comes again, behind those
        who wait: they would wait for all of it otherwise.
        """
        left: list[Ticket] = []
        for ticket in batch:
            taken, count = min(count, len(ticket.commands)), max(count - len(ticket.commands), 0)
            if not taken:
                left.append(ticket)
            elif taken < len(ticket.commands):
                rest = ticket._replace(commands=ticket.commands[taken:], arrived=time.monotonic())
                self.tickets.append(rest)
                self.waiting += len(rest.commands)
        self.tickets.extendleft(reversed(left))
        self.waiting += sum(len(ticket.commands) for ticket in left)

    @property
    def is_ready(self) -> bool:
        """Whether a worker should take it.

        A second one should not before half as much waits as is on its way: a crowd is halved, not split into a
        large batch and one of those few who came too late for it.
        """
        if self.is_scheduled or not self.tickets:
            return False
        return not self.workers or (
            self.workers == 1
            and self.flight is not None
            and self.waiting >= max(self.flight.count // 2, BESIDE_COMMANDS_MIN)
        )

    @property
    def is_idle(self) -> bool:
        """Whether no worker has got it or will get it."""
        return not self.is_scheduled and not self.workers

    @property
    def is_heavy(self) -> bool:
        """Whether memory has to let go of something first, which it may only while nobody drafts."""
        book = self.book
        return book is None or (
            book.size > DRAFTED_TIMES * REMEMBERED_SIZE_MAX
            or len(book.transactions) > DRAFTED_TIMES * REMEMBERED_TRANSACTIONS_MAX
        )

    @property
    def size(self) -> int:
        """How much it remembers, itself included, which takes as much memory as a few accounts."""
        return LANE_SIZE + (self.book.size if self.book is not None else 0)

    def remember(self, book: Book | None) -> None:
        """Keeps of a book for the next batch what is likely to be named again."""
        if book is not None:
            book.forget_all_but_pending(REMEMBERED_TRANSACTIONS_MAX, REMEMBERED_SIZE_MAX)
            # Then accounts and categories are too many.
            if book.size > REMEMBERED_SIZE_MAX or book.ledger.deleted_at is not None:
                book = None
        self.book = book
