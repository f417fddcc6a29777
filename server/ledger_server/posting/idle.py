"""Lanes at rest, as many as memory allows.

What a lane remembers of its ledger spares its next batch the reading. There may be a few ledgers with thousands of
accounts, or thousands with a few: so it is counted what they all remember, and those go first whose last batch is the
longest ago.
"""

from __future__ import annotations

from collections import OrderedDict

from ledger_server.posting.lane import Lane


class IdleLanes:
    """The lanes that were used last, by their ledgers."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._size = 0
        # Those used last at the end; with their sizes when they came.
        self._lanes: OrderedDict[int, tuple[Lane, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    def keep(self, lane: Lane) -> None:
        """Remembers a lane that has nothing to do; forgets others for it, but if it is too large, itself."""
        size = lane.size
        if size > self._size_max:
            return
        self._lanes[lane.ledger_id] = (lane, size)
        self._size += size
        while self._size > self._size_max:
            _, (_, forgotten_size) = self._lanes.popitem(last=False)
            self._size -= forgotten_size

    def take(self, ledger_id: int) -> Lane | None:
        """The lane of the ledger, which has something to do now; None if it is not remembered."""
        lane, size = self._lanes.pop(ledger_id, (None, 0))
        self._size -= size
        return lane
