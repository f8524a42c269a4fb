"""A replay: inputs in, one run folder for each out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..settings import Settings
from .clips import ClipError
from .finish import remove, remove_segments, slug, write_files
from .gazer import Wanted
from .journal import Journal
from .reader import Problem, open_input
from .spread import Spread
from .summary import hashes, write_combined, write_summary
from .work import Job

SEGMENTS = "segments"
PLAN = "plan.json"


class ReplayError(ClipError):
    """A replay that can't begin or go on; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    inputs: list[Path]
    #: the run folder; of several inputs the folder of their run folders
    out: Path
    settings: Settings = field(default_factory=Settings)
    #: image topics; all where empty
    topics: list[str] = field(default_factory=list)
    #: seconds after a recording's first message
    start: float = 0.0
    end: float | None = None
    #: every so many images of a topic
    every: int = 1
    live: bool = False
    #: of the live mode, in ms; measured where None
    cost: float | None = None
    overlay: bool = False
    reconstruction: bool = False
    video: bool = False
    report: bool = True
    resume: bool = False
    overwrite: bool = False
    #: images a second of a folder of images
    rate: float = 30.0
    #: seconds between two segments of the journal
    checkpoint: float = 10.0
    spread: Spread = field(default_factory=Spread)


@dataclass
class Run:
    """One input and its run folder."""

    input: Path
    folder: Path
    plan: dict[str, Any]
    jobs: list[Job]
    #: images of each topic, where known
    counts: dict[str, int | None]
    #: found when the input was opened
    problems: list[Problem] = field(default_factory=list)
    #: filled in by a thread while the work goes on
    hashing: threading.Thread | None = None
    summary: dict[str, Any] | None = None
    error: str = ""


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
        ReplayError: the folder is taken, or can't be gone on with.
        ClipError: there is but one input, and it can't be read.
        SourceError: there is but one input, and its gaze source can't be made.
        ClusterError: Ray can't be used.
    """
    watcher = watcher or Watcher()
    begun = time.perf_counter()
    single = len(options.inputs) == 1
    runs = []
    for path, folder in _folders(options):
        try:
            runs.append(_lay_out(path, folder, options))
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
    if options.report:
        _report([run.folder for run in runs if run.summary], None if single else options.out)
    return runs


def _folders(options: Options) -> list[tuple[Path, Path]]:
    """Each input with its run folder, named after it where there are several."""
    if len(options.inputs) == 1:
        return [(options.inputs[0], options.out)]
    names: Counter[str] = Counter()
    found = []
    for path in options.inputs:
        name = path.resolve().stem if path.is_file() else path.resolve().name
        names[name] += 1
        found.append((path, options.out / (f"{name}_{names[name]}" if names[name] > 1 else name)))
    return found


def _lay_out(path: Path, folder: Path, options: Options) -> Run:
    """Look at an input, make sure of its run folder and cut the work into jobs."""
    with open_input(path, options.rate) as source:
        topics = source.choose(options.topics)
        files = source.files
        counts = {topic: source.topics[topic].count for topic in topics}
        problems = list(source.problems)
    plan = {
        "version": __version__,
        "input": str(path),
        "inputs": [{"name": file.name, "bytes": file.stat().st_size} for file in files],
        "mode": {"name": "live" if options.live else "every-frame"}
        | ({"cost": "given" if options.cost is not None else "measured"} if options.live else {}),
        "cost": options.cost,
        "selection": {
            "topics": topics,
            "start": options.start,
            "end": options.end,
            "every": options.every,
        },
        "settings": asdict(options.settings),
        "pictures": [options.overlay, options.reconstruction, options.video],
        "rate": options.rate,
    }
    _claim(folder, plan, options)
    wanted = Wanted(options.overlay or options.video, options.reconstruction)
    shared: dict[str, Any] = {
        "settings": asdict(options.settings), "wanted": wanted, "start": options.start, "end": options.end,
        "every": options.every, "live": options.live, "cost": options.cost, "rate": options.rate,
        "checkpoint": options.checkpoint,
    }  # fmt: skip
    jobs = [
        # Absolute, as a worker on a cluster has another working directory.
        Job(
            str(path.absolute()),
            topic,
            str(folder.absolute() / SEGMENTS / f"{number:02}_{slug(topic)}"),
            **shared,
        )
        for number, topic in enumerate(topics)
    ]
    run = Run(path, folder, plan, jobs, counts, problems)
    if (folder / "summary.json").exists():  # an earlier run was finished; there is nothing to go on with
        run.summary = json.loads((folder / "summary.json").read_text())
        run.jobs = []
        remove_segments(folder / SEGMENTS)
        return run

    def hash_all() -> None:
        run.plan["inputs"] = hashes(files)
        run.plan["model_sha256"] = _model_hash(options.settings)

    run.hashing = threading.Thread(target=hash_all, name="hashing", daemon=True)
    run.hashing.start()
    return run


def _claim(folder: Path, plan: dict[str, Any], options: Options) -> None:
    """Make the run folder, or take it over from an earlier run."""
    if folder.exists() and not folder.is_dir():
        raise ReplayError(f"{folder} is a file; name another folder with -o")
    file = folder / PLAN
    taken = file.exists() or (folder / "summary.json").exists()
    if taken and options.overwrite:
        file.unlink(missing_ok=True)
        remove(folder, SEGMENTS)
        taken = False
    if taken and not options.resume:
        what = "a finished run" if (folder / "summary.json").exists() else "a run that was interrupted"
        raise ReplayError(f"{folder} holds {what}; --resume goes on with it, --overwrite starts anew")
    if taken:
        try:
            before = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ReplayError(f"{folder} can't be gone on with: {error}; --overwrite starts anew") from error
        different = [name for name in plan if before.get(name) != plan[name] and name != "input"]
        if different:
            raise ReplayError(
                f"{folder} can't be gone on with, as it was begun with another {', '.join(different)}; "
                "--overwrite starts anew"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{PLAN}.draft"
        draft.write_text(json.dumps(plan, indent=2) + "\n")
        draft.replace(file)
    except OSError as error:
        raise ReplayError(f"{folder} can't be written: {error}") from error


def _finish(run: Run, options: Options, wall: float) -> None:
    """Make the run folder's files of the journals, and let these go."""
    journals = {job.topic: Journal(Path(job.folder)) for job in run.jobs}
    problems = write_files(run.folder, journals, run.problems, options.overlay, options.video)
    if run.hashing is not None:
        run.hashing.join()
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


def _model_hash(settings: Settings) -> str:
    """SHA-256 of the model's weights; empty for sources without one."""
    if settings.source != "autogaze":
        return ""
    weights = Path(settings.model).expanduser() / "model.safetensors"
    try:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # the source itself will say what is wrong


def _report(folders: list[Path], combined: Path | None) -> None:
    """Write the reports, where this installation can."""
    if importlib.util.find_spec(f"{__package__}.report") is None:
        return
    report: Any = importlib.import_module(f"{__package__}.report")
    write: Callable[[Path], Path] = report.write_report
    for folder in folders:
        write(folder)
    if combined is not None:
        report.write_combined_report(combined)
