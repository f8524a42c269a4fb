"""What the tests of the domain share."""

from collections.abc import Callable

import numpy as np
import pytest

from autogaze_ros.gaze import DEFAULT_LAYOUT, GazeFrame, TokenLayout
from autogaze_ros.gaze.tiling import Tiling

Make = Callable[..., GazeFrame]


@pytest.fixture(scope="session")
def make_gaze() -> Make:
    """Makes a gaze of given ids on an image of a given size."""

    def make(ids, width=640, height=480, layout: TokenLayout = DEFAULT_LAYOUT, **values) -> GazeFrame:
        ids = np.asarray(ids, np.int32)
        tiling = Tiling(layout, width, height)
        fields = {
            "stamp": 0, "source": "test", "model": "", "frame_index": 1, "keyframe": False, "keyframe_cause": "",
            "tiles": np.zeros(len(ids), np.int32), "boxes": layout.boxes(ids, width, height),
            "confidence": np.ones(len(ids), np.float32),
            "predicted_losses": np.full(len(ids), np.nan, np.float32), "psnr": 30.0,
        }  # fmt: skip
        return GazeFrame(tiling=tiling, ids=ids, **(fields | values))

    return make
