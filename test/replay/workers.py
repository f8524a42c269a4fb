"""Work for processes of a pool, which find it by this module's name."""

import os
import signal
from pathlib import Path

from autogaze_ros.errors import AutogazeError
from autogaze_ros.replay.work import Job


def fated(job: Job) -> None:
    """What the job's topic says; each go leaves a mark."""
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    goes = len(list(folder.iterdir()))
    (folder / str(goes)).touch()
    if job.topic == "/always" or (job.topic == "/once" and not goes):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.topic == "/fails":
        raise AutogazeError("as it should")
