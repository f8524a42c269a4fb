"""Quality of service: what fits, what can be changed, and what is said where something does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from autogaze_ros.msg import FixationArray
from gaze_client import Gaze, stamp_of
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from ros_client import BEST_EFFORT, RELIABLE
from sensor_msgs.msg import Image

LATCHED = QoSProfile(
    depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
)


def reliability(gaze: Gaze, topic: str, peers: str) -> str:
    found = getattr(gaze.client.node, f"get_{peers}_info_by_topic")(topic)
    own = [info for info in found if info.node_namespace == gaze.namespace]
    assert len(own) == 1
    return own[0].qos_profile.reliability.name


@pytest.mark.parametrize("camera", [RELIABLE, BEST_EFFORT], ids=["reliable", "best effort"])
def test_cameras_of_either_kind_are_heard(start: Callable[..., Gaze], camera: QoSProfile) -> None:
    gaze = start(camera=camera)
    gaze.connect("fixations")  # fails unless images are answered
    assert reliability(gaze, gaze.topic, "subscriptions") == "BEST_EFFORT"
    assert "fit" not in gaze.program.log()


@pytest.mark.parametrize("profile", [RELIABLE, BEST_EFFORT], ids=["reliable", "best effort"])
def test_subscribers_of_either_kind_are_served(gaze: Gaze, profile: QoSProfile) -> None:
    messages: list[Any] = []
    node = gaze.client.node
    subscription = node.create_subscription(FixationArray, f"{gaze.name}/fixations", messages.append, profile)
    try:
        gaze.client.until(lambda: [gaze.ask(gaze.picture()), messages][1], "fixations come")
    finally:
        node.destroy_subscription(subscription)


def test_overrides_change_the_topic_that_they_name_and_no_other(start: Callable[..., Gaze]) -> None:
    # In namespaces of the test's own, so the names are known only once the node is made.
    gaze = start({"autostart": False})
    image, overlay = f"{gaze.namespace}/again/image", f"{gaze.namespace}/again/gaze_node/overlay"
    overridden = start(
        {
            f"qos_overrides.{image}.subscription.reliability": "reliable",
            f"qos_overrides.{overlay}.publisher.reliability": "best_effort",
        },
        namespace=f"{gaze.namespace}/again",
    )
    overridden.connect("fixations", "mask_image", "reconstruction")
    assert overridden.topic == image
    assert reliability(overridden, image, "subscriptions") == "RELIABLE"
    assert reliability(overridden, overlay, "publishers") == "BEST_EFFORT"
    for output in ("fixations", "mask", "mask_image", "overlay/compressed", "reconstruction"):
        assert reliability(overridden, f"{overridden.name}/{output}", "publishers") == "RELIABLE", output
    # They are still so after a new configuration.
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert overridden.transition(transition)
    overridden.connect()
    assert reliability(overridden, image, "subscriptions") == "RELIABLE"
    assert reliability(overridden, f"{overridden.name}/reconstruction", "publishers") == "RELIABLE"


@pytest.mark.parametrize(
    ("topic", "own", "state"),
    [("image", "subscription", "inactive"), ("gaze_node/overlay", "publisher", "unconfigured")],
    ids=["input", "output"],
)
def test_a_bad_override_is_named(start: Callable[..., Gaze], topic: str, own: str, state: str) -> None:
    first = start({"autostart": False})
    namespace = f"{first.namespace}/again"
    gaze = start({f"qos_overrides.{namespace}/{topic}.{own}.reliability": "sometimes"}, namespace=namespace)
    gaze.program.wait_for_log("sometimes")
    gaze.wait_for_state(state)
    _, status = gaze.report()
    assert status.level == status.ERROR
    assert "sometimes" in status.message
    if state == "inactive":
        assert gaze.transition("cleanup")
        _, status = gaze.report(lambda _, status: status.message == "not active")
        assert status.level == status.OK


def test_a_camera_that_does_not_fit_is_reported_once_with_the_remedy(start: Callable[..., Gaze]) -> None:
    first = start({"autostart": False})
    namespace = f"{first.namespace}/again"
    gaze = start(
        {f"qos_overrides.{namespace}/image.subscription.reliability": "reliable"},
        namespace=namespace,
        camera=BEST_EFFORT,
    )
    remedy = f"parameter qos_overrides.{gaze.topic}.subscription.reliability"
    gaze.program.wait_for_log(remedy)
    second = gaze.client.node.create_publisher(Image, gaze.topic, BEST_EFFORT)
    gaze.client.spin(1)
    gaze.client.node.destroy_publisher(second)
    assert gaze.program.log().count(remedy) == 1
    values, _ = gaze.report()
    assert remedy in values["last error"]


def test_a_subscriber_that_does_not_fit_is_told_a_remedy_that_works(start: Callable[..., Gaze]) -> None:
    gaze = start()
    topic = f"{gaze.name}/fixations"
    node = gaze.client.node
    subscription = node.create_subscription(FixationArray, topic, lambda message: None, LATCHED)
    try:
        remedy = f"qos_overrides.{topic}.publisher.durability"
        gaze.program.wait_for_log(remedy)
        gaze.client.spin(0.5)
        assert gaze.program.log().count(remedy) == 1
    finally:
        node.destroy_subscription(subscription)

    namespace = f"{gaze.namespace}/again"
    remedied = start(
        {f"qos_overrides.{namespace}/gaze_node/fixations.publisher.durability": "transient_local"},
        namespace=namespace,
    )
    remedied.connect("fixations")
    last = remedied.ask(remedied.picture())["fixations"]
    messages: list[Any] = []
    late = node.create_subscription(FixationArray, f"{remedied.name}/fixations", messages.append, LATCHED)
    try:
        wanted = stamp_of(last)
        remedied.client.until(
            lambda: wanted in map(stamp_of, messages), "a late joiner gets the last message"
        )
    finally:
        node.destroy_subscription(late)
