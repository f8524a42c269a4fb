"""The progress of a replay on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .run import Run, Watcher
from .work import Job


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f}/s", style="progress.data.speed")


class Bars(Watcher):
    """One bar a topic, with rate and time left, on standard error. Use as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, object] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, runs: list[Run]) -> None:
        """Show a bar for each topic."""
        for run in runs:
            for job in run.jobs:
                title = f"{run.input.name} {job.topic}"
                # How many images come before an end in seconds is known only once they are read.
                total = run.counts.get(job.topic) if job.end is None else None
                self._tasks[job.folder] = self._progress.add_task(title, total=total)

    def progress(self, job: Job, count: int) -> None:
        """Move a topic's bar."""
        self._progress.update(self._tasks[job.folder], completed=count)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        """Print above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
