"""The tests can be collected with less than pip installs: then those that need the rest are skipped, and say so."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: what no rosdep key brings
PIP_ONLY = (
    "torch",
    "safetensors",
    "rosbags",
    "mcap",
    "mcap_ros2",
    "lz4",
    "zstandard",
    "pyarrow",
    "plotly",
    "ray",
    "av",
)
COLLECT = """
import sys
import pytest
sys.modules.update(dict.fromkeys({names!r}))  # None: there is no such module
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "test"]))
"""


@pytest.mark.parametrize(
    "missing", [("torch",), PIP_ONLY], ids=["without torch", "with rosdep's packages alone"]
)
def test_all_tests_can_be_collected(missing: tuple[str, ...]) -> None:
    code = COLLECT.format(names=missing)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "test/test_settings.py::" in done.stdout
