"""The work on one topic of one input, from where its journal ends to the end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..gaze.frame import Frame
from ..render import Wanted
from ..settings import Settings
from .gazer import Checks, Gazer
from .journal import Journal
from .live import NewestWins, measured_cost
from .reader import Input, Loaded, Recorded, open_input

#: Called with the number of images of the topic that are behind now.
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """One topic of one input; all that a worker needs, in things that can be sent to another process."""

    input: str
    topic: str
    #: where its journal is
    folder: str
    settings: dict[str, Any] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=Wanted)
    #: seconds after the recording's first message
    start: float = 0.0
    end: float | None = None
    #: every so many images of the topic
    every: int = 1
    live: bool = False
    #: of the live mode, in ms; measured where None
    cost: float | None = None
    #: images a second of a folder of images
    rate: float = 30.0
    #: seconds between two segments of the journal
    checkpoint: float = 10.0


def run_job(job: Job, tell: Tell = lambda _: None) -> None:
    """Work on a topic to its end. What its journal holds already is not done again.

    Raises:
        ClipError: the input can't be read.
        SourceError: the gaze source can't be made.
    """
    journal = Journal(Path(job.folder), seconds=job.checkpoint)
    if journal.end is not None:
        return
    settings = Settings.from_mapping(job.settings)
    with open_input(job.input, job.rate) as source:
        checks = journal.checks
        worker = None
        if job.live:
            cost = checks.get("cost") or (
                round(job.cost * 1e6)
                if job.cost is not None
                else measured_cost(source.recorded([job.topic]), settings)
            )
            worker = NewestWins(cost)
        gazer, again = _restored(journal, settings, job.wanted)
        chosen = _chosen(source, job, worker)
        todo = (item for item in chosen if item.index >= journal.next or item.index in again)
        kept = {"cost": worker.cost} if worker else {}
        with ReadAhead(todo, gazer.pipeline.source.layout.size) as ahead:
            for item, loaded, seconds in ahead:
                if item.index in again:
                    assert isinstance(loaded.frame, Frame)
                    gazer.follow(loaded.frame)
                    continue
                due = journal.add(gazer.answer(item, loaded, seconds))
                tell(item.index + 1)
                if due:
                    state = gazer if gazer.can_be_kept else None
                    journal.commit(kept | gazer.kept, state)
        end = {
            "problems": [asdict(problem) for problem in source.problems],
            "overload": worker.dropped if worker else 0,
            "cost_ms": worker.cost / 1e6 if worker else None,
            "source": gazer.pipeline.source.name,
            "model": gazer.pipeline.source.model,
            "device": gazer.pipeline.source.device,
        }
        journal.finish(kept | gazer.kept, end)


def _restored(journal: Journal, settings: Settings, wanted: Wanted) -> tuple[Gazer, frozenset[int]]:
    """A gazer that goes on where a journal ends, and the images that it has to see again for that."""
    state = journal.state()
    if isinstance(state, Gazer):
        return state, frozenset()
    gazer = Gazer(settings, wanted)
    if not journal.next:
        return gazer, frozenset()
    gazer.checks = Checks(**journal.checks["stamps"])
    gazer.pipeline.failed = journal.checks["failed"]
    if gazer.pipeline.failed:  # the next image is a fresh start
        return gazer, frozenset()
    # What came before the stream's last fresh start has no influence any more.
    since: list[int] = []
    for row in journal.rows():
        if row["keyframe"] and row["keyframe_cause"] != "interval":
            since.clear()
        since.append(row["index"])
    return gazer, frozenset(since)


def _chosen(source: Input, job: Job, worker: NewestWins | None) -> Iterable[Recorded]:
    """The images to work on: of the time range, every n-th, and of these those that a live worker would take."""
    first = source.begin
    begin = first + round(job.start * 1e9)
    items: Iterable[Recorded] = source.recorded([job.topic])
    if job.end is not None:
        end = first + round(job.end * 1e9)
        items = takewhile(lambda item: item.log_time < end, items)
    items = (item for item in items if item.log_time >= begin and item.index % job.every == 0)
    return worker(items) if worker else items


class ReadAhead:
    """Decodes images in a thread of its own, a few ahead of their use. Use as a context manager.

    Args:
        items: what to decode.
        size: side of the square that each frame is shrunk to as well.
        depth: images ahead.
    """

    def __init__(self, items: Iterable[Recorded], size: int, depth: int = 4) -> None:
        self._items, self._size = items, size
        self._ready: queue.Queue[tuple[Recorded, Loaded, float] | BaseException | None] = queue.Queue(depth)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)

    def __enter__(self) -> Iterator[tuple[Recorded, Loaded, float]]:
        self._thread.start()
        return self._results()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        while self._thread.is_alive():
            try:  # it may wait for a place
                self._ready.get(timeout=0.01)
            except queue.Empty:
                continue
        self._thread.join()

    def _results(self) -> Iterator[tuple[Recorded, Loaded, float]]:
        """Each image, decoded, and the seconds that took."""
        while (result := self._ready.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result

    def _run(self) -> None:
        try:
            for item in self._items:
                if self._stopping.is_set():
                    return
                begun = time.perf_counter()
                loaded = item.load()
                if isinstance(loaded.frame, Frame):
                    loaded.frame.working(self._size)
                self._ready.put((item, loaded, time.perf_counter() - begun))
            self._ready.put(None)
        except BaseException as error:  # told to the thread that waits for it
            self._ready.put(error)
