"""Frames: what is said to PostgreSQL before a batch and behind it, by how other writers are kept out of its way."""

from __future__ import annotations

from typing import NamedTuple

from ledger_server.storage.pool import LOCK_WAIT


class Frame(NamedTuple):
    """The statements around a batch."""

    begin: str = "BEGIN ISOLATION LEVEL SERIALIZABLE"
    commit: str = "COMMIT"


PLAIN = Frame()


def in_turn(ledger_id: int) -> Frame:
    """A batch that waits behind those of other servers, so that losing a race for the ledger's row is rare.

    Not a guard, but fair: the line is first come, first served, while a loser of the race may lose for ever. So nobody
    leaves it early. Nor need they: a turn is had within a transaction only, and one whose server died or froze is
    ended by idle_in_transaction_session_timeout.
    """
    # The lock is the session's, and outlives the transaction that waits for it, whose snapshot would be too old.
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 0"
    wait = f"{begin}; SELECT pg_advisory_lock({ledger_id}); COMMIT"
    return Frame(f"{wait}; {PLAIN.begin}", f"{PLAIN.commit}; SELECT pg_advisory_unlock({ledger_id})")


def alone_in_database(frame: Frame) -> Frame:
    """A batch beside which nobody writes to any ledger, for one that would otherwise lose for ever.

    SERIALIZABLE does not tell rows apart that are on one page of an index, and neighbouring ledgers share pages. A long
    batch then loses to short ones of other ledgers every time. This lock conflicts with what every batch inserts, and
    is taken before the snapshot: the others wait, and if anybody has to lose it is they. Who does not need it pays
    nothing for it. While it is waited for the others wait too, so not for long, and less than a turn: a batch that is
    stuck has it.
    """
    lock = "SET LOCAL lock_timeout = '50ms'; LOCK TABLE metadata_pairs IN SHARE ROW EXCLUSIVE MODE"
    return Frame(f"{frame.begin}; {lock}; SET LOCAL lock_timeout = '{LOCK_WAIT}'", frame.commit)
