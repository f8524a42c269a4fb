"""Fixtures that start the real node and talk to it over DDS."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

pytest.importorskip("rclpy", reason="the tests of ros/ need rclpy")

from gaze_client import Gaze
from gaze_process import Program
from ros_client import Client

from autogaze_ros.resources import transport_environment
from autogaze_ros.settings import specs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failing test shows what the programs said."""
    report = yield
    if report.failed and report.when in ("setup", "call"):
        for program in Program.alive:
            report.sections.append((f"log of {program.namespace}", program.log()[-6000:]))
    return report


@pytest.fixture(scope="session")
def transport() -> None:
    """Images of any size get through, here and in the processes that are started."""
    os.environ.update(transport_environment())


@pytest.fixture(scope="session")
def client(transport: None) -> Iterator[Client]:
    """One participant for all tests."""
    client = Client()
    yield client
    client.close()


@pytest.fixture
def start(client: Client) -> Iterator[Callable[..., Gaze]]:
    """Starts gaze_nodes for one test and ends them after it."""
    nodes: list[Gaze] = []

    def begin(parameters: dict[str, Any] | None = None, **options: Any) -> Gaze:
        nodes.append(Gaze(client, parameters, **options))
        return nodes[-1]

    yield begin
    for node in nodes:
        node.close()


@pytest.fixture(scope="session")
def shared_gaze(client: Client) -> Iterator[Gaze]:
    """One gaze_node for all tests that leave it as it was; every output is listened to."""
    gaze = Gaze(client)
    try:
        gaze.connect("fixations", "mask", "mask_image", "overlay", "overlay/compressed", "reconstruction")
        yield gaze
    finally:
        gaze.close()


@pytest.fixture
def gaze(shared_gaze: Gaze) -> Iterator[Gaze]:
    """The shared gaze_node, about to start afresh, all live parameters at their defaults."""
    assert shared_gaze.reset().success
    yield shared_gaze
    assert shared_gaze.program.process.poll() is None, "gaze_node is gone"
    shared_gaze.must_set(**{name: default for name, (default, spec) in specs().items() if spec.live})


@pytest.fixture
def held(
    start: Callable[..., Gaze], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Gaze, Path]]:
    """A gaze_node at work, and the file that keeps its work on an image from ending while it is there."""
    file = tmp_path / "held"
    monkeypatch.setenv("HELD_BY", str(file))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    gaze = start(program=Program("held_node", {}))
    gaze.connect("fixations")
    yield gaze, file
    file.unlink(missing_ok=True)


@pytest.fixture
def run() -> Iterator[Callable[..., Program]]:
    """Starts programs for one test and ends them after it."""
    programs: list[Program] = []

    def begin(module: str, parameters: dict[str, Any] | None = None, *arguments: str) -> Program:
        programs.append(Program(module, parameters or {}, arguments))
        return programs[-1]

    yield begin
    for program in programs:
        program.discard()
