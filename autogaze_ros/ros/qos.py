"""Quality of service: the node's profiles, and plain words when a peer's does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

#: A camera's newest image; fits reliable and best-effort publishers alike.
IMAGE_IN = QoSProfile(
    depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT, durability=QoSDurabilityPolicy.VOLATILE
)
#: Small messages, for subscribers of either kind.
DATA_OUT = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
#: Pictures.
IMAGE_OUT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)

#: Lets users set history, depth and reliability of every topic by the standard qos_overrides parameters.
OVERRIDES = QoSOverridingOptions.with_default_policies()


def subscription_events(topic: str, complain: Callable[[str], None]) -> SubscriptionEventCallbacks:
    """Event callbacks that name a publisher's policy that does not fit, once a topic."""
    return SubscriptionEventCallbacks(
        incompatible_qos=_reporter(topic, "publisher", "subscription", complain)
    )


def publisher_events(topic: str, complain: Callable[[str], None]) -> PublisherEventCallbacks:
    """Event callbacks that name a subscriber's policy that does not fit, once a topic."""
    return PublisherEventCallbacks(incompatible_qos=_reporter(topic, "subscriber", "publisher", complain))


def _reporter(topic: str, peer: str, own: str, complain: Callable[[str], None]) -> Callable[[Any], None]:
    seen: set[str] = set()

    def report(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        if policy in seen:
            return
        seen.add(policy)
        complain(
            f"a {peer} of {topic} asks for a {policy} that does not fit this node's, so no message passes; "
            f"change it there, or here by the parameter qos_overrides.{topic}.{own}.{policy}"
        )

    return report
