"""The demo listens to a bag's images as they were recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import drawn

from autogaze_ros.demo import _transport_of
from autogaze_ros.replay.clips import ClipError


def test_the_transport_is_that_of_the_topic(tmp_path: Path) -> None:
    bag = drawn(tmp_path / "bag", frames=2, cameras=2)
    assert _transport_of(bag, "/rear/image_raw/compressed") == "compressed"
    assert _transport_of(bag, "") == "raw"


def test_a_topic_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no image topic /front"):
        _transport_of(drawn(tmp_path / "bag", frames=1), "/front")
