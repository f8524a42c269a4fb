"""Importing the package is cheap, and only the room that talks to ROS needs ROS."""

import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import autogaze_ros

ROS = ("rclpy", "rclpy.node", "std_msgs", "sensor_msgs", "diagnostic_msgs", "autogaze_ros.msg", "launch")
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"{{name}} is not on this machine", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code, blocked=()):
    """Run code in a Python of its own, where some packages are missing."""
    code = BLOCK.format(names=tuple(blocked)) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def rooms_without_ros():
    """Every module that has to import where no ROS is installed."""
    sources = str(Path(autogaze_ros.__file__).parent)
    modules = pkgutil.walk_packages([sources], "autogaze_ros.", onerror=lambda name: None)
    other = [
        "autogaze_ros.ros",
        "autogaze_ros.msg",
        "autogaze_ros.__main__",
        "autogaze_ros.training.__main__",
    ]
    other += ["autogaze_ros.bench.node", "autogaze_ros.bench.transport"]  # measure the real nodes
    other += [] if find_spec("torch") else ["autogaze_ros.model", "autogaze_ros.training"]
    return [m.name for m in modules if not m.name.startswith(tuple(other))]


def test_import_pulls_in_nothing_heavy():
    loaded = run("import autogaze_ros; print(*sys.modules)").stdout.split()
    assert "autogaze_ros" in loaded
    assert not {"torch", "rclpy", "cv2", "numpy", "rosbags", "av"} & set(loaded)


@pytest.mark.parametrize("room", ["gaze", "render", "pipeline", "settings"])
def test_domain_needs_neither_torch_nor_ros(room):
    result = run(f"import autogaze_ros.{room}; assert 'torch' not in sys.modules", (*ROS, "torch"))
    assert result.returncode == 0, result.stderr


def test_settings_need_no_opencv():
    result = run("import autogaze_ros.settings", ("cv2",))
    assert result.returncode == 0, result.stderr


def test_every_room_but_ros_imports_without_ros():
    for optional in ("rosbags", "mcap", "lz4", "zstandard", "pyarrow", "av"):
        pytest.importorskip(optional, reason=f"{optional} comes with pip's package, not with rosdep's")
    modules = rooms_without_ros()
    assert "autogaze_ros.gaze.tokens" in modules
    result = run(f"import importlib\nfor name in {modules!r}: importlib.import_module(name)", ROS)
    assert result.returncode == 0, result.stderr


def test_node_needs_only_what_rosdep_gives():
    pytest.importorskip("rclpy")
    result = run(
        "import autogaze_ros.ros.node", ("torch", "safetensors", "rosbags", "mcap", "av", "rich", "typer")
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("entry", ["autogaze_ros.cli", "autogaze_ros.ros.node", "autogaze_ros.ros.camera"])
def test_programs_set_up_the_process_before_numpy_loads(entry):
    """NumPy's threads are counted when it loads; later settings would come too late."""
    code = (
        f"import sys, {entry}; from autogaze_ros.gaze import receiver; names = list(sys.modules);"
        "print(names.index('autogaze_ros._process') < names.index('numpy'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
