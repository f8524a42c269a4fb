"""Quality of service: the node's profiles, and plain words when a peer's does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import QoSPolicyKind, QoSProfile, QoSReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

#: What users may set of every topic by the standard qos_overrides parameters.
OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
OVERRIDES = QoSOverridingOptions(OVERRIDABLE)

# Made anew for each topic, as rclpy writes the overrides of a topic into the profile that it is given.


def image_in() -> QoSProfile:
    """A camera's newest image; fits reliable and best-effort publishers alike."""
    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)


def data_out() -> QoSProfile:
    """Small messages, for subscribers of either kind."""
    return QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)


def image_out() -> QoSProfile:
    """Pictures."""
    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)


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
        remedy = "change it there"
        if policy in (kind.name.lower() for kind in OVERRIDABLE):
            remedy += f", or here by the parameter qos_overrides.{topic}.{own}.{policy}"
        verb = "offers" if peer == "publisher" else "asks for"
        complain(
            f"a {peer} of {topic} {verb} a {policy} that does not fit this node's, so no message passes; {remedy}"
        )

    return report
