"""Jobs over this process, several of them, or a Ray cluster. What comes out is the same."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AutogazeError
from .clips import ClipError
from .work import Job, run_job

#: What a job may fail with; anything else is a fault in this program.
FAILURES = (AutogazeError, OSError)
#: Called with a job and the number of its images that are behind.
TellJob = Callable[[Job, int], None]


class ClusterError(AutogazeError, RuntimeError):
    """No Ray, or no cluster; the message says what to do."""


@dataclass(frozen=True)
class Spread:
    """Where jobs run.

    Args:
        processes: how many at a time.
        ray: address of a Ray cluster ("auto" for the one this machine is part of, "local" for one that is
            started here); empty for this machine.
    """

    processes: int = 1
    ray: str = ""

    def run(self, jobs: list[Job], tell: TellJob) -> dict[str, Exception]:
        """Run all jobs; returns what those that failed did so with, by the folder of their journal.

        Raises:
            ClusterError: Ray can't be used.
        """
        if self.ray:
            return _on_cluster(jobs, self.ray, self.processes, tell)
        if self.processes > 1 and len(jobs) > 1:
            return _in_processes(jobs, min(self.processes, len(jobs)), tell)
        failed: dict[str, Exception] = {}
        for job in jobs:
            try:
                run_job(job, lambda count, job=job: tell(job, count))  # type: ignore[misc]
            except FAILURES as error:
                failed[job.folder] = error
        return failed


def _in_processes(jobs: list[Job], processes: int, tell: TellJob) -> dict[str, Exception]:
    """Jobs whose process was killed are done again, one by one: it may have been others that took the memory."""
    failed, killed = _side_by_side(jobs, processes, tell)
    for job in killed:
        again, still = _side_by_side([job], 1, tell)
        failed |= again
        if still:
            failed[job.folder] = ClipError(f"{job.input}: its process was killed (out of memory?)")
    return failed


def _side_by_side(jobs: list[Job], processes: int, tell: TellJob) -> tuple[dict[str, Exception], list[Job]]:
    """What jobs failed with, by their folders, and those whose process was killed."""
    failed: dict[str, Exception] = {}
    killed: list[Job] = []
    queue = deque(jobs)
    # A pool for each process: with one that broke, only the job in it is lost.
    idle = [_pool() for _ in range(processes)]
    busy: dict[Future[None], tuple[Job, ProcessPoolExecutor]] = {}
    try:
        while queue or busy:
            while queue and idle:
                job, pool = queue.popleft(), idle.pop()
                busy[pool.submit(run_reporting, job)] = job, pool
            done, _ = wait(busy, timeout=0.3, return_when=FIRST_COMPLETED)
            _tell_all([job for job, _ in busy.values()], tell)
            for future in done:
                (job, pool), error = busy.pop(future), future.exception()
                if isinstance(error, BrokenProcessPool):
                    killed.append(job)
                    pool.shutdown()
                    pool = _pool()
                elif isinstance(error, FAILURES):
                    failed[job.folder] = error
                elif error is not None:
                    raise error
                idle.append(pool)
    except BaseException:
        for _, pool in busy.values():
            for process in list((pool._processes or {}).values()):
                process.terminate()
        raise
    finally:
        for pool in (*idle, *(pool for _, pool in busy.values())):
            pool.shutdown(cancel_futures=True)
    return failed, killed


def _pool() -> ProcessPoolExecutor:
    """One process, a fresh interpreter: a forked one would share threads and locks of libraries with this one."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _on_cluster(jobs: list[Job], address: str, processes: int, tell: TellJob) -> dict[str, Exception]:
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("spreading over a cluster needs Ray: pip install ray")
    import ray

    options: dict[str, Any] = {"num_cpus": processes} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster at {address}: {error}; start one with: ray start --head"
        ) from error
    failed: dict[str, Exception] = {}
    try:
        work = ray.remote(num_cpus=1, max_retries=2)(run_reporting)
        waiting = {work.remote(job): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=0.5)
            _tell_all(waiting.values(), tell)
            for future in done:
                job = waiting.pop(future)
                try:
                    ray.get(future)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None)
                    failed[job.folder] = (
                        cause if isinstance(cause, FAILURES) else ClipError(f"{job.input}: {error}")
                    )
    finally:
        ray.shutdown()
    return failed


def run_reporting(job: Job) -> None:
    """Run a job in a worker process; how far it is stands in a file of its journal's folder."""
    import autogaze_ros._process  # noqa: F401

    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    done = [0]
    stop = threading.Event()

    parent = os.getppid()

    def report() -> None:
        while not stop.wait(0.5):
            if os.getppid() != parent:  # whoever asked for this was killed, and may be about to go on with it
                os._exit(1)
            draft = folder / "progress.draft"
            draft.write_text(str(done[0]))
            draft.replace(folder / "progress")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        run_job(job, lambda count: done.__setitem__(0, count))
    finally:
        stop.set()
        thread.join()


def _tell_all(jobs: Any, tell: TellJob) -> None:
    for job in jobs:
        try:
            tell(job, int((Path(job.folder) / "progress").read_text()))
        except (OSError, ValueError):
            continue
