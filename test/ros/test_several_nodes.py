"""Several cameras, a node each."""

from __future__ import annotations

from collections.abc import Callable

from gaze_client import Gaze, image, stamp_of
from pictures import scene
from sensor_msgs.msg import Image


def test_nodes_in_two_namespaces_do_not_mix(start: Callable[..., Gaze]) -> None:
    front, rear = start({"budget": 5}), start({"source": "patch_diff", "budget": 9})
    sizes = {front: (320, 240), rear: (200, 100)}
    for gaze, (width, height) in sizes.items():
        gaze.connect("fixations", "mask_image")
        gaze.ask(image(scene(0, width, height)), frame_id=gaze.namespace)
    begin = {gaze: len(gaze.messages["fixations"]) for gaze in sizes}
    sent: dict[Gaze, list[int]] = {front: [], rear: []}
    front.reset()  # and nobody else
    for index in range(1, 6):
        for gaze, (width, height) in sizes.items():
            answer = gaze.ask(image(scene(index, width, height)), frame_id=gaze.namespace)
            sent[gaze].append(stamp_of(answer["fixations"]))
            assert (answer["mask_image"].width, answer["mask_image"].height) == (width, height)
            assert answer["fixations"].keyframe == (gaze is front and index == 1)
    front.client.spin(0.5)  # for what should not come
    for gaze, source, budget in ((front, "greedy", 5), (rear, "patch_diff", 9)):
        messages = gaze.messages["fixations"][begin[gaze] :]
        assert [stamp_of(m) for m in messages] == sent[gaze]
        assert {m.header.frame_id for m in messages} == {gaze.namespace}
        assert {m.source for m in messages} == {source}
        assert max(len(m.fixations) for m in messages if not m.keyframe) <= budget
    front.must_set(budget=2)
    assert rear.get("budget") == 9
    assert front.transition("deactivate")
    assert rear.state() == "active"
    rear.ask(image(scene(6, 200, 100)))


def test_two_cameras_on_one_topic_are_no_transport_losses(start: Callable[..., Gaze]) -> None:
    """Each publisher counts its own messages."""
    gaze = start()
    gaze.connect("fixations")
    second = gaze.client.node.create_publisher(Image, gaze.topic, 1)
    first = gaze.publisher
    gaze.client.until(second.get_subscription_count, "the second one is heard")
    try:
        for _ in range(10):  # puts the first one ahead
            gaze.ask(gaze.picture())
        before = int(gaze.report()[0]["dropped: transport"])
        for index in range(6):
            gaze.publisher = (second, first)[index % 2]
            gaze.ask(gaze.picture())
        assert int(gaze.report()[0]["dropped: transport"]) == before
    finally:
        gaze.publisher = first
        gaze.client.node.destroy_publisher(second)
