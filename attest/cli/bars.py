"""Progress bars for a person at a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_WIDE = 72  # columns: on less there is room for the numbers, or for a bar


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f}/s")


@contextmanager
def drawn() -> Iterator[tuple[Progress, Callable[[str, int, int | None], None]]]:
    """Draw bars on stderr until the block ends; yields them, and what moves them."""
    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    ]
    if console.width >= _WIDE:
        columns[1:1] = [BarColumn()]
        columns[-1:-1] = [TimeElapsedColumn()]
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield progress, show
