"""The thread that works on the newest item."""

from __future__ import annotations

import threading

import pytest

from autogaze_ros.ros.worker import NewestWorker


def test_the_newest_item_wins_and_older_ones_are_told() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(item: int) -> None:
        begun.set()
        assert go_on.wait(20)
        done.append(item)

    worker: NewestWorker[int] = NewestWorker(work, "test")
    assert not worker.submit(1)
    assert begun.wait(20)
    assert [worker.submit(item) for item in (2, 3, 4)] == [False, True, True]
    go_on.set()
    while len(done) < 2:
        pass
    assert not worker.stop()
    assert worker.ended(20)
    assert done == [1, 4]


def test_a_fault_costs_one_item(capsys: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            raise RuntimeError("broken on purpose")
        done.set()

    worker: NewestWorker[int] = NewestWorker(work, "test")
    worker.submit(0)
    while "broken on purpose" not in capsys.readouterr().err:
        pass
    worker.submit(1)
    assert done.wait(20)
    worker.stop()
    assert worker.ended(20)


def test_work_that_hangs_is_not_waited_for() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert go_on.wait(20)

    worker: NewestWorker[int] = NewestWorker(work, "test")
    worker.submit(1)
    assert begun.wait(20)
    worker.submit(2)
    assert worker.stop()
    assert not worker.ended(0.05)
    go_on.set()
    assert worker.ended(20)
