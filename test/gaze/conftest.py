"""What the tests of the domain share."""

from collections.abc import Callable

import numpy as np
import pytest

from autogaze_ros.gaze import DEFAULT_LAYOUT, GazeFrame, TokenLayout

Make = Callable[..., GazeFrame]


@pytest.fixture(scope="session")
def make_gaze() -> Make:
    """Makes a gaze of given ids on an image of a given size."""

    def make(ids, width=640, height=480, layout: TokenLayout = DEFAULT_LAYOUT, **values) -> GazeFrame:
        ids = np.asarray(ids, np.int32)
        nothing = np.full(len(ids), np.nan, np.float32)
        fields = {
            "stamp": 0, "source": "test", "model": "", "frame_index": 1, "keyframe": False,
            "keyframe_cause": "", "confidence": np.ones(len(ids), np.float32), "predicted_losses": nothing,
            "psnr": 30.0,
        }  # fmt: skip
        boxes = layout.boxes(ids, width, height)
        return GazeFrame(width=width, height=height, layout=layout, ids=ids, boxes=boxes, **(fields | values))

    return make
