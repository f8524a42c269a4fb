"""What an installation puts where, so that ROS's tools find it: colcon's where one is sourced, else pip's."""

import os
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREFIXES = [Path(p) for p in (*os.environ.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix) if p]
PREFIX = next((p for p in PREFIXES if (p / "share/autogaze_ros").is_dir()), None)
COMMANDS = {"gaze_node", "autogaze_camera", "autogaze"}
#: those that ROS finds but that are too general a word for everybody's path
ROS_ONLY = {"replay"}

pytestmark = pytest.mark.skipif(PREFIX is None, reason="autogaze_ros is not installed")
by_pip = pytest.mark.skipif(str(PREFIX) != sys.prefix, reason="this installation is colcon's, not pip's")


def installed():
    return {Path(str(f.locate())).resolve() for f in distribution("autogaze_ros").files or ()}


@pytest.mark.parametrize("name", ["Fixation", "FixationArray", "GazeMask", "MaskLayer"])
def test_messages_have_type_support(name):
    from rclpy.serialization import deserialize_message, serialize_message

    from autogaze_ros import msg

    kind = getattr(msg, name)
    assert deserialize_message(serialize_message(kind()), kind) == kind()
    assert (PREFIX / f"share/autogaze_ros/msg/{name}.msg").is_file()


def test_ament_index_finds_package_and_messages(monkeypatch):
    from ament_index_python import get_package_share_directory, get_resource

    monkeypatch.setenv("AMENT_PREFIX_PATH", ":".join(map(str, PREFIXES)))
    assert get_package_share_directory("autogaze_ros") == str(PREFIX / "share/autogaze_ros")
    assert "msg/FixationArray.msg" in get_resource("rosidl_interfaces", "autogaze_ros")[0]
    assert "rclpy" in get_resource("package_run_dependencies", "autogaze_ros")[0]


def test_shared_files_are_those_of_the_checkout():
    names = [
        *(ROOT / "launch").glob("*.py"),
        *(ROOT / "config").iterdir(),
        *(ROOT / "msg").iterdir(),
        ROOT / "package.xml",
    ]
    for source in names:
        copy = PREFIX / "share/autogaze_ros" / source.relative_to(ROOT)
        assert copy.read_bytes() == source.read_bytes(), f"{copy} is old: make setup"


def test_ros2_run_finds_the_commands():
    folder = PREFIX / "lib/autogaze_ros"
    assert {f.name for f in folder.iterdir()} == COMMANDS | ROS_ONLY
    assert all(os.access(f, os.X_OK) for f in folder.iterdir())


@by_pip
def test_commands_are_in_the_path():
    ours = {e.name for e in entry_points(group="console_scripts") if e.value.startswith("autogaze_ros.")}
    assert ours == COMMANDS


@by_pip
def test_executable_runs_with_this_python_from_anywhere(tmp_path):
    """Also where the environment isn't active and another Python comes first in the path."""
    environ = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "LD_LIBRARY_PATH")}
    environ.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    environ["PATH"] = "/usr/bin:/bin"
    for name, usage in (("autogaze", "Usage: autogaze"), ("replay", "Usage: autogaze replay")):
        command = [PREFIX / "lib/autogaze_ros" / name, "--help"]
        result = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        assert usage in result.stdout


@by_pip
def test_uninstall_would_leave_nothing():
    """Every file of ours is on pip's record, and no second record (of ament's) hides it."""
    record = installed()
    ours = [p for p in PREFIX.rglob("*autogaze_ros*") if "__pycache__" not in p.parts]
    files = {f.resolve() for p in ours for f in ([p] if p.is_file() else p.rglob("*"))}
    left = {f for f in files if f.is_file() and "__pycache__" not in f.parts} - record
    left = {f for f in left if f.name != "autogaze_ros_checkout.pth"}  # the Makefile's, not pip's
    assert not left
    assert not list(PREFIX.rglob("autogaze_ros*.egg-info"))


@by_pip
def test_nothing_installed_names_the_folder_it_was_built_in():
    texts = [
        f for f in installed() if f.suffix in (".cmake", ".dsv", ".sh", ".xml", ".py", "") and f.is_file()
    ]
    assert texts
    assert not [
        f for f in texts if any(w in f.read_text() for w in ("pip-build-env", "cmake-install", "/opt/python"))
    ]


@by_pip
def test_the_checkout_comes_first_in_its_own_environment():
    """Commands of .venv run the sources as they are, with the installed messages."""
    if not list(PREFIX.rglob("autogaze_ros_checkout.pth")):
        pytest.skip("not the environment that the Makefile makes")
    code = "import autogaze_ros, autogaze_ros.msg as m; print(autogaze_ros.__file__, m.__file__)"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=60
    ).stdout
    package, messages = map(Path, out.split())
    assert package == ROOT / "autogaze_ros/__init__.py"
    assert PREFIX in messages.parents
