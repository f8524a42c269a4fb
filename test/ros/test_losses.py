"""What the middleware lost, by the publishers' numbers."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from ros_client import Client
from sensor_msgs.msg import Image

from autogaze_ros.ros.losses import LossCounter


def told(number: int | None, publisher: bytes | None = None) -> dict[str, Any]:
    gid = None if publisher is None else {"data": list(publisher)}
    return {"publication_sequence_number": number, "publisher_gid": gid}


def test_gaps_of_each_publisher() -> None:
    counter = LossCounter(list)
    order = [(1, b"a"), (7, b"b"), (2, b"a"), (5, b"a"), (8, b"b"), (5, b"a"), (1, b"b")]
    assert [counter.missing(told(*one)) for one in order] == [0, 0, 0, 2, 0, 0, 0]
    assert counter.missing(told(None, b"a")) == 0


def test_messages_that_do_not_say_whose_they_are_count_for_one_publisher_alone() -> None:
    there = [b"a"]
    counter = LossCounter(lambda: there)
    assert [counter.missing(told(number)) for number in (1, 2, 5)] == [0, 0, 2]
    assert counter.missing({"publication_sequence_number": 7}) == 1
    there.append(b"b")
    assert [counter.missing(told(number)) for number in (500, 8, 501, 9)] == [0, 0, 0, 0]
    there.pop()
    assert [counter.missing(told(number)) for number in (12, 14)] == [0, 1], "what was before is forgotten"
    there[:] = [b"c"]
    assert [counter.missing(told(number)) for number in (900, 902)] == [0, 1]
    there.clear()
    assert counter.missing(told(905)) == 0


def test_the_graph_tells_publishers_apart(client: Client) -> None:
    """By what the node asks it where messages don't say whose they are."""
    node: Node = client.node
    publishers = [node.create_publisher(Image, "losses", 1) for _ in range(2)]
    try:
        client.until(lambda: node.count_publishers("losses") == 2, "both are there")
        found = node.get_publishers_info_by_topic("losses")
        assert len({bytes(endpoint.endpoint_gid) for endpoint in found}) == 2
    finally:
        for publisher in publishers:
            node.destroy_publisher(publisher)
