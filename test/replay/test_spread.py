"""Jobs in processes, some of which are killed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

import workers

from autogaze_ros.replay.spread import Spread
from autogaze_ros.replay.work import Job


def test_a_killed_process_costs_no_other_job_and_its_own_only_if_it_dies_alone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("autogaze_ros.replay.spread.run_reporting", workers.fated)
    topics = ["/once", "/good", "/always", "/fails", "/good", "/good"]
    jobs = [Job("bag", topic, str(tmp_path / str(number))) for number, topic in enumerate(topics)]
    failed = Spread(2).run(jobs, lambda job, count: None)
    assert {Path(folder).name: str(error) for folder, error in failed.items()} == {
        "2": "bag: its process was killed (out of memory?)",
        "3": "as it should",
    }
    assert [len(list(Path(job.folder).iterdir())) for job in jobs] == [2, 1, 2, 1, 1, 1]
