"""The table's rows: what each is called, how often it is done in full, and what does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.report import Result
from tests.faults.stage import Stage

Run = Callable[[Stage, int], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Row:
    """A fault. rounds: in full; a short run does a tenth, at least one."""

    number: str
    fault: str
    rounds: int
    run: Run

    def rounds_of(self, *, is_short: bool) -> int:
        return max(1, self.rounds // 10) if is_short else self.rounds

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in the table: by number, those without one last."""
        digits = "".join(character for character in self.number if character.isdigit())
        return (int(digits) if self.number[0].isdigit() else 1_000, self.number)


ROWS: list[Row] = []


def row(number: str, fault: str, *, rounds: int) -> Callable[[Run], Run]:
    """Enters a function into the table."""

    def enter(run: Run) -> Run:
        ROWS.append(Row(number, fault, rounds, run))
        return run

    return enter
