"""A progress bar on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def progress_bar(
    task: str, counts: str, *, total: float | None = None, **fields: Any
) -> Iterator[Callable[..., object]]:
    """A bar whose ``completed``, ``total`` and fields are updated by calling what it yields.

    Nothing is drawn unless standard error is a terminal and the library for it is installed.

    Args:
        task: what is done, in a word.
        counts: what is said beside the bar, such as ``{task.fields[rows]} rows``.
        total: when it is done; None: not known yet.
        fields: what ``counts`` names, as it is at first.
    """
    try:
        from rich import progress
        from rich.console import Console
    except ModuleNotFoundError:
        yield _draw_nothing
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _draw_nothing
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(counts),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bars:
        yield partial(bars.update, bars.add_task(task, total=total, **fields))


def _draw_nothing(**_: object) -> None:
    pass
