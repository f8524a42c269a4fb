"""What a replay keeps on disk to go on from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autogaze_ros.gaze.frame import Frame
from autogaze_ros.render import Wanted
from autogaze_ros.replay import journal as journals
from autogaze_ros.replay.clips import DrawnClip
from autogaze_ros.replay.gazer import Gazer
from autogaze_ros.replay.journal import Journal
from autogaze_ros.replay.mcap_writer import McapWriter
from autogaze_ros.settings import Settings


@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
@pytest.mark.parametrize("resolution", ["resize", "tile_grid", "tile_exact"])
def test_every_state_can_be_taken_up_again(tmp_path: Path, source: str, resolution: str):
    clip = [*DrawnClip(300, 240, 9)]
    gazer = Gazer(Settings(source=source, resolution=resolution, total_budget=40), Wanted(True, True))
    for index, picture in enumerate(clip[:8]):
        gazer.follow(Frame(picture, index))
    journal = Journal(tmp_path)
    journal.commit({}, gazer)
    again = Journal(tmp_path).state()
    assert isinstance(again, Gazer)
    one, other = (each.pipeline.step(Frame(clip[8], 8)) for each in (gazer, again))
    np.testing.assert_array_equal(one.ids, other.ids)
    assert (one.psnr, one.sequence, one.keyframe) == (other.psnr, other.sequence, other.keyframe)


def test_a_crafted_state_makes_nothing(tmp_path: Path):
    """Path is a name in this package's own modules too."""
    victim = tmp_path / "victim.mcap"
    victim.write_bytes(b"precious")
    Journal(tmp_path / "j").commit({}, "a state")
    state = next((tmp_path / "j").glob("*.state"))
    assert journals.Path is Path
    path = b"cautogaze_ros.replay.journal\nPath\n(V" + os.fsencode(victim) + b"\ntR"
    writer = f"c{McapWriter.__module__}\n{McapWriter.__name__}\n".encode()
    state.write_bytes(writer + b"(" + path + b"tR.")
    assert Journal(tmp_path / "j").state() is None
    assert victim.read_bytes() == b"precious"
    state.write_bytes(b"cnumpy\nload\n(V/etc/passwd\ntR.")
    assert Journal(tmp_path / "j").state() is None
