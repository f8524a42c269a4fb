"""Every test run keeps to loopback and to a DDS domain of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# 1..100: above, the ports of a domain can meet those that the system hands out.
os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)

#: What the tests of a folder need and no rosdep key brings.
NEEDED = {
    "model": ("torch", "safetensors"),
    "training": ("torch", "safetensors"),
    "replay": ("rosbags", "mcap", "lz4", "zstandard", "pyarrow", "plotly", "av"),
}


class Tests(pytest.Module):
    """A file of tests, skipped where a package is missing. (A conftest.py that skips takes other folders along.)"""

    def collect(self):
        for name in NEEDED.get(self.path.parent.name, ()):
            pytest.importorskip(name, reason=f"{name} comes from pip only")
        return super().collect()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Tests:
    return Tests.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def make_gaze() -> Callable[..., Any]:
    """Makes a gaze of given ids, and anything else that is named, on an image of a given size."""
    import numpy as np

    from autogaze_ros.gaze import DEFAULT_LAYOUT, GazeFrame
    from autogaze_ros.gaze.tiling import Tiling

    def make(ids, width=640, height=480, layout=DEFAULT_LAYOUT, **values) -> GazeFrame:
        ids = np.asarray(ids, np.int32)
        fields = {
            "stamp": 0, "source": "test", "model": "", "frame_index": 1, "sequence": 1,
            "keyframe": False, "keyframe_cause": "",
            "tiles": np.zeros(len(ids), np.int32), "boxes": layout.boxes(ids, width, height),
            "confidence": np.ones(len(ids), np.float32),
            "predicted_losses": np.full(len(ids), np.nan, np.float32), "psnr": 30.0,
        }  # fmt: skip
        return GazeFrame(tiling=Tiling(layout, width, height), ids=ids, **(fields | values))

    return make
