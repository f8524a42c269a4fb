"""A replay: inputs in, one run folder for each out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .clips import ClipError
from .finish import remove_segments, write_files
from .journal import Journal
from .plan import SEGMENTS, Options, ReplayError, Run, folders_of, lay_out, spare_inputs
from .summary import write_combined, write_summary
from .work import Job

__all__ = ["Options", "ReplayError", "Run", "Watcher", "replay"]


class Watcher:
    """Told how a replay goes on; this one does nothing."""

    def begin(self, runs: list[Run]) -> None:
        """All runs are laid out and their work begins."""

    def progress(self, job: Job, count: int) -> None:
        """So many images of a job are behind."""

    def say(self, text: str) -> None:
        """Something that people should know."""


def replay(options: Options, watcher: Watcher | None = None) -> list[Run]:
    """Replay all inputs.

    Returns:
        A run for each input, with its summary or its error.

    Raises:
        ReplayError: the folder is taken or holds an input, or can't be gone on with.
        ClipError: there is but one input, and it can't be read.
        SourceError: there is but one input, and its gaze source can't be made.
        ClusterError: Ray can't be used.
    """
    spare_inputs(options)
    runs: list[Run] = []
    try:
        _work(options, watcher or Watcher(), runs)
    finally:
        for run in runs:
            if run.lock is not None:
                run.lock.close()
    if options.report:
        _report([run.folder for run in runs if run.summary], None if len(runs) == 1 else options.out)
    return runs


def _work(options: Options, watcher: Watcher, runs: list[Run]) -> None:
    """Lay out a run for each input, and do the work; the runs hold their locks from then on."""
    begun = time.perf_counter()
    single = len(options.inputs) == 1
    for path, folder in folders_of(options):
        try:
            runs.append(lay_out(path, folder, options))
        except ReplayError:
            raise
        except ClipError as error:
            if single:
                raise
            runs.append(Run(path, folder, {}, [], {}, error=str(error)))
    watcher.begin(runs)
    jobs = [job for run in runs for job in run.jobs]
    failed = options.spread.run(jobs, watcher.progress)
    for run in runs:
        errors = [failed[job.folder] for job in run.jobs if job.folder in failed]
        if errors and single:
            raise errors[0]
        if errors:
            run.error = str(errors[0])
        elif run.jobs:
            _finish(run, options, time.perf_counter() - begun)
            _tell(run, watcher)
        if run.error:
            watcher.say(f"{run.input}: {run.error}")
    if not single:
        lines: list[dict[str, Any]] = [{"folder": run.folder.name, "input": str(run.input)} for run in runs]
        for run, line in zip(runs, lines, strict=True):
            line |= {"error": run.error} if run.error else {"summary": run.summary}
        write_combined(options.out, lines)


def _finish(run: Run, options: Options, wall: float) -> None:
    """Make the run folder's files of the journals, and let these go."""
    journals = {job.topic: Journal(Path(job.folder)) for job in run.jobs}
    if run.hashing is not None:
        run.hashing.join()
    problems = write_files(run.folder, journals, run.problems, options.overlay, options.video)
    run.summary = write_summary(run.folder, run.plan, journals, problems, wall)
    remove_segments(run.folder / SEGMENTS)


def _tell(run: Run, watcher: Watcher) -> None:
    """Put the run's problems into words."""
    summary = run.summary or {}
    for text in summary.get("input problems", []):
        watcher.say(f"{run.input}: {text}")
    for topic, figures in summary.get("topics", {}).items():
        for cause, count in figures["problems"].items():
            watcher.say(f"{run.input}: {topic}: {count} x {cause}, see problems.csv")


def _report(folders: list[Path], combined: Path | None) -> None:
    """Write the reports."""
    from .report import write_combined_report, write_report  # with plotly, which takes a while to import

    for folder in folders:
        write_report(folder)
    if combined is not None:
        write_combined_report(combined)
