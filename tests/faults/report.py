"""The report: a row for each fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class Result:
    """What became of one row.

    rounds: how often the fault was injected. acknowledged: calls that were answered with success meanwhile.
    recovered: seconds from each fault's end to the next success. findings: what is wrong, as sentences.
    control: what the detector found where it had to find something.
    """

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    recovered: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    control: str = ""
    note: str = ""
    seconds: float = 0.0

    def expect(self, holds: bool, sentence: str) -> None:
        """Notes a finding if something that must hold does not."""
        if not holds:
            self.findings.append(sentence)


def to_table(results: Sequence[tuple[str, str, Result]]) -> Table:
    """The table for people: number, fault, result."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("row", "fault"):
        table.add_column(heading)
    for heading in ("rounds", "acknowledged", "lost", "doubled", "recovered in"):
        table.add_column(heading, justify="right")
    for heading in ("control", "note"):
        table.add_column(heading)
    table.add_column("seconds", justify="right")
    for number, fault, result in results:
        style = "red" if result.findings else ""
        figures = [str(n) for n in (result.rounds, result.acknowledged, result.lost, result.doubled)]
        recovered = f"{max(result.recovered):.1f} s" if result.recovered else ""
        cells = [number, fault, *figures, recovered, result.control, result.note, f"{result.seconds:.0f}"]
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def to_markdown(results: Sequence[tuple[str, str, Result]], about: str) -> str:
    """The same for a file."""
    lines = [
        about,
        "",
        "| row | fault | rounds | acknowledged | lost | doubled | recovered in | control | note |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, fault, result in results:
        recovered = f"{max(result.recovered):.1f} s" if result.recovered else ""
        note = "; ".join([result.note, *(f"**{finding}**" for finding in result.findings)]).strip("; ")
        lines.append(
            f"| {number} | {fault} | {result.rounds} | {result.acknowledged} | {result.lost} | {result.doubled} "
            f"| {recovered} | {result.control} | {note} |"
        )
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Replaces the file."""
    path.write_text(text)
