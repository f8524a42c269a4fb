"""Images that the middleware lost, by the gaps in their publishers' numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class LossCounter:
    """Tells how many messages of a publisher are missing before the one that has come.

    Args:
        publishers: the ids of the publishers that there are now. Asked where a message does not say whose it is,
            as with rclpy up to Jazzy; then only a topic's one publisher can be counted.
    """

    def __init__(self, publishers: Callable[[], Sequence[bytes]]) -> None:
        self._publishers = publishers
        self._numbers: dict[bytes, int] = {}

    def missing(self, info: Mapping[str, Any]) -> int:
        """How many messages were lost between the publisher's last one and this one, whose info this is."""
        number = info.get("publication_sequence_number")
        if number is None:
            return 0
        publisher = bytes((info.get("publisher_gid") or {}).get("data", b""))
        if not publisher:
            there = self._publishers()
            publisher = there[0] if len(there) == 1 else b""
            # Of one that was there before, numbers say nothing once others had the topic too.
            self._numbers = {key: last for key, last in self._numbers.items() if key == publisher}
            if not publisher:
                return 0
        last = self._numbers.get(publisher, number)
        self._numbers[publisher] = number
        return max(0, number - last - 1)
