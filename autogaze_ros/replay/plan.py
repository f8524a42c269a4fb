"""What a replay is to do: its options, and one run with its folder and its jobs for each input."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from .. import __version__
from ..render import Wanted
from ..resources import model_folder
from ..settings import Settings
from .clips import ClipError
from .finish import distinct, remove, remove_segments, slug, written
from .journal import FORMAT
from .reader import Problem, open_input
from .spread import Spread
from .summary import sha256
from .work import Job

SEGMENTS = "segments"
PLAN = "plan.json"
LOCK = ".lock"


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
    #: held as long as the run is in work
    lock: IO[str] | None = None
    #: filled in by a thread while the work goes on
    hashing: threading.Thread | None = None
    summary: dict[str, Any] | None = None
    error: str = ""


def folders_of(options: Options) -> list[tuple[Path, Path]]:
    """Each input with its run folder, named after it where there are several."""
    if len(options.inputs) == 1:
        return [(options.inputs[0], options.out)]
    inputs = [path.resolve() for path in options.inputs]
    names = distinct(path.stem if path.is_file() else path.name for path in inputs)
    return [(path, options.out / name) for path, name in zip(options.inputs, names, strict=True)]


def spare_inputs(options: Options) -> None:
    """Make sure that no file which a replay writes or deletes is an input of it.

    Raises:
        ReplayError: one is, by whatever name.
    """
    folders = _identities(path for path in options.inputs if path.is_dir())
    inputs = _identities(file for path in options.inputs for file in (path, *path.glob("*")))
    for folder in {options.out, *(folder for _, folder in folders_of(options))}:
        if folders & _identities([folder]):
            raise ReplayError(f"{folder} is an input itself; name another folder with -o")
        ours = [*written(folder), folder / PLAN, *(folder / SEGMENTS).rglob("*")]
        for file in ours:
            if inputs & _identities([file]):
                raise ReplayError(f"{file} is an input and would be overwritten; name another folder with -o")


def _identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """What tells existing files and folders apart, however they are called."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def lay_out(path: Path, folder: Path, options: Options) -> Run:
    """Look at an input, make sure of its run folder and cut the work into jobs."""
    with open_input(path, options.rate) as source:
        topics = source.choose(options.topics)
        files = source.files
        counts = {topic: source.topics[topic].count for topic in topics}
        problems = list(source.problems)
    plan = {
        "version": __version__,
        "format": FORMAT,
        "input": str(path),
        "path": str(path.absolute()),
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
    lock = _locked(folder)
    try:
        _claim(folder, plan, options)
    except BaseException:
        lock.close()
        raise
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
    run = Run(path, folder, plan, jobs, counts, problems, lock)
    if (folder / "summary.json").exists():  # an earlier run was finished; there is nothing to go on with
        run.summary = json.loads((folder / "summary.json").read_text())
        run.jobs = []
        remove_segments(folder / SEGMENTS)
        return run

    run.plan["model_sha256"] = ""

    def hash_all() -> None:
        for file, known in zip(files, run.plan["inputs"], strict=True):
            try:
                known["sha256"] = sha256(file)
            except OSError as error:
                known["sha256"] = ""
                run.problems.append(Problem("", None, None, "hash", f"{file.name} has no SHA-256: {error}"))
        run.plan["model_sha256"] = _model_hash(options.settings)

    run.hashing = threading.Thread(target=hash_all, name="hashing", daemon=True)
    run.hashing.start()
    return run


def _claim(folder: Path, plan: dict[str, Any], options: Options) -> None:
    """Begin a run in its folder, or take it over from an earlier run."""
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
        if (before.get("version"), before.get("format")) != (plan["version"], plan["format"]):
            raise ReplayError(
                f"{folder} can't be gone on with, as it is of version {before.get('version')} with state format "
                f"{before.get('format')}, and this is version {plan['version']} with {plan['format']}; "
                "--overwrite starts anew"
            )
        different = [
            name for name in plan if before.get(name) != plan[name] and name not in ("input", "path")
        ]
        if different:
            raise ReplayError(
                f"{folder} can't be gone on with, as it was begun with another {', '.join(different)}; "
                "--overwrite starts anew"
            )
        return
    try:
        draft = folder / f"{PLAN}.draft"
        draft.write_text(json.dumps(plan, indent=2) + "\n")
        draft.replace(file)
    except OSError as error:
        raise ReplayError(f"{folder} can't be written: {error}") from error


def _locked(folder: Path) -> IO[str]:
    """Make the run folder, and a lock on it, which ends with the process however that ends.

    The lock's file is never deleted: whoever waits for it would hold a lock on nothing.
    """
    if folder.exists() and not folder.is_dir():
        raise ReplayError(f"{folder} is a file; name another folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A finished run may lie where nothing can be written; asking for it again is fine.
        writable = os.access(folder, os.W_OK) or not (folder / PLAN).is_file()
        file = (folder / LOCK).open("a") if writable else (folder / PLAN).open()
    except OSError as error:
        raise ReplayError(f"{folder} can't be written: {error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ReplayError(f"another replay is at work in {folder}") from error
    except OSError:  # a file system without locks
        pass
    return file


def _model_hash(settings: Settings) -> str:
    """SHA-256 of the model's weights; empty for sources without one."""
    if settings.source != "autogaze":
        return ""
    weights = model_folder(settings.model) / "model.safetensors"
    try:
        return sha256(weights)
    except OSError:
        return ""  # the source itself will say what is wrong
