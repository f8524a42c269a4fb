"""The quality benches in small: sources at equal tokens, and a model that stops by its own threshold."""

import numpy as np
import pytest

from autogaze_ros.bench.quality import DifferenceSource, bench_quality
from autogaze_ros.gaze import Frame
from autogaze_ros.gaze.receiver import TokenReceiver
from autogaze_ros.gaze.sources import Limits


def test_sources_get_equal_tokens():
    result = bench_quality(["greedy", "patch_diff", "difference"], [3, 9], None, frames=4)
    rows = {(row["source"], row["budget"]): row for row in result["rows"]}
    assert len(rows) == 6
    assert all(row["tokens a frame"] == budget for (_, budget), row in rows.items())
    assert all(rows["greedy", n]["psnr mean (dB)"] >= rows["difference", n]["psnr mean (dB)"] for n in (3, 9))


def test_plain_difference_sees_what_moved():
    source, receiver = DifferenceSource(), TokenReceiver()
    frame = np.zeros((224, 224, 3), np.uint8)
    source.step(Frame(frame), receiver, Limits(5), True)
    moved = frame.copy()
    moved[16:32, 48:64] = 200
    ids = source.step(Frame(moved), receiver, Limits(1), False).ids
    assert ids.tolist() == [69 + 14 + 3]


def test_follow_counts_what_remains_before_each_token():
    pytest.importorskip("torch")
    from autogaze_ros.bench.threshold import follow
    from autogaze_ros.pipeline import make_source
    from autogaze_ros.replay.clips import DrawnClip
    from autogaze_ros.settings import Settings

    clip = [Frame(picture) for picture in DrawnClip(224, 224, 3)]
    source = make_source(Settings(source="autogaze", model="builtin", device="cpu"))
    result = follow(source, clip, 25.0)
    assert len(result["true"]) == len(result["predicted"]) == sum(result["tokens"])
    first = result["true"][: result["tokens"][0]]
    assert first == sorted(first)
    assert result["reached"][0] > first[-1]
