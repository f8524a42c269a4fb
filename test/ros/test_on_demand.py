"""Nothing is computed for an output that nobody listens to."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from gaze_client import Gaze, image
from pictures import scene
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from ros_client import Client

from autogaze_ros.pipeline import Pipeline
from autogaze_ros.render import Reconstruction, renderer
from autogaze_ros.ros import outputs
from autogaze_ros.ros.node import GazeNode

#: What makes each output's message.
MAKERS = {
    "fixations": {"write": 1},
    "mask": {"mask_message": 1},
    "mask_image": {"image_message": 1},
    "overlay": {"draw_view": 1, "image_message": 1},
    "overlay/compressed": {"draw_view": 1, "compressed_message": 1},
    "reconstruction": {"update": 1, "image_message": 1},
}


class Inside:
    """A gaze_node in this process, where what it calls can be counted; it talks over DDS all the same."""

    namespace = "/inside"

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = GazeNode(context=self.context, namespace=self.namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin)
        self.thread.start()

    def discard(self) -> None:
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each maker was called."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counting(*args: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    for name in ("mask_message", "image_message", "compressed_message"):
        count(outputs, name)
    count(outputs.FixationWriter, "write")
    count(renderer, "draw_view")
    count(Reconstruction, "update")
    count(Pipeline, "token_picture")
    return counts


@pytest.fixture
def inside(client: Client, calls: Counter[str]) -> Iterator[Gaze]:
    gaze = Gaze(client, program=Inside())
    yield gaze
    gaze.close()


def test_only_what_is_listened_to_is_made(inside: Gaze, calls: Counter[str]) -> None:
    gaze = inside
    gaze.client.until(gaze.publisher.get_subscription_count, "the node takes images")
    gaze.client.until(
        lambda: [gaze.send(image(scene())), gaze.client.spin(0.2), answered(gaze)][-1],
        "images are worked on",
    )
    assert calls == {}
    node, index = gaze.client.node, itertools.count()
    for output, makers in MAKERS.items():
        gaze.connect(output)
        calls.clear()
        gaze.ask(image(scene(next(index))))
        assert calls == makers, output
        gaze.ignore(output)
        # This process's own view of the graph is that of the node, too.
        topic = f"{gaze.name}/{output}"
        gaze.client.until(lambda: not node.count_subscribers(topic), f"nobody listens to {topic}")  # noqa: B023
        gaze.client.spin(0.2)


def answered(gaze: Gaze) -> int:
    values = {
        pair.key: pair.value for status in gaze.client.diagnostics(gaze.name)[-1:] for pair in status.values
    }
    return int(values.get("frames answered", 0))
