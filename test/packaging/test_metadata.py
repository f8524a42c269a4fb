"""What the package says of itself, in the places that different tools read."""

import ast
import re
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

import autogaze_ros

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_XML = ElementTree.parse(ROOT / "package.xml").getroot()


def requirements():
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    return [Requirement(r) for r in sum(extras.values(), project["dependencies"])]


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_one_version_everywhere():
    released = re.findall(r"^(\d+\.\d+\.\d+) \(", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert PACKAGE_XML.findtext("version") == autogaze_ros.__version__
    assert not released or released[0] == autogaze_ros.__version__
    assert version("autogaze_ros") == autogaze_ros.__version__, "the installed package is old: make setup"


def test_name_and_licence_agree():
    assert PACKAGE_XML.findtext("name") == PYPROJECT["project"]["name"] == "autogaze_ros"
    assert PACKAGE_XML.findtext("license") == PYPROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "the autogaze_ros authors" in text


def test_package_xml_passes_catkin():
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"))
    package.validate()
    assert package.get_build_type() == "ament_cmake"


def test_package_xml_names_the_messages_group_and_both_runtimes():
    assert PACKAGE_XML.findtext("member_of_group") == "rosidl_interface_packages"
    needed = {e.text for e in PACKAGE_XML if e.tag in ("depend", "exec_depend")}
    assert {"std_msgs", "sensor_msgs", "diagnostic_msgs", "std_srvs", "rclpy", "launch_ros"} <= needed
    assert not any("torch" in key for key in needed), "rosdep has no torch for every robot: README, Jetson"


def test_changelog_is_what_catkin_reads():
    lines = (ROOT / "CHANGELOG.rst").read_text().splitlines()
    assert lines[1] == "Changelog for package autogaze_ros"
    assert lines[0] == lines[2] == "^" * len(lines[1])
    assert lines[4] == "Forthcoming" or re.match(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)$", lines[4])


@pytest.mark.parametrize("pin", constraints(), ids=lambda pin: pin.name)
def test_known_versions_are_within_the_ranges(pin):
    ranges = [r for r in requirements() if r.name.lower() == pin.name.lower()]
    exact = next(iter(pin.specifier)).version
    assert ranges, f"{pin.name} is pinned in constraints.txt but not a dependency"
    assert all(r.specifier.contains(exact) for r in ranges)


def test_every_dependency_is_pinned_but_torch():
    assert {r.name for r in requirements()} - {c.name for c in constraints()} == {"torch"}


def imports():
    """The packages that our modules import anywhere, with one module that does."""
    found = {}
    for file in (ROOT / "autogaze_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found.update({name.split(".")[0]: file.name for name in names})
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names}


def test_every_import_is_a_dependency():
    """Of pip's package and of ROS's, but for what rosdep can't give and what is used only if there."""
    own_name = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "PyYAML"}
    with_rclpy = {"rcl_interfaces", "builtin_interfaces"}
    only_if_there = {"autogaze_ros", "cv_bridge"}
    names = {r.name.removeprefix("ros-").replace("-", "_") for r in requirements()}
    wanted = {m: own_name.get(m, m).replace("-", "_") for m in imports() if m not in only_if_there}
    assert {m for m, name in wanted.items() if name not in names | with_rclpy} == set()

    keys = {e.text for e in PACKAGE_XML if e.tag in ("depend", "exec_depend")}
    rosdep = {"cv2": "python3-opencv", "PIL": "python3-pil"}
    missing = {m for m in wanted if rosdep.get(m, m) not in keys and f"python3-{m}" not in keys}
    assert missing <= {
        "torch", "safetensors", "rosbags", "mcap", "lz4", "zstandard", "pyarrow", "plotly", "ray", "av",
        "builtin_interfaces",
    }  # fmt: skip


def test_installed_metadata_has_the_same_dependencies():
    if requires("autogaze_ros") is None:
        pytest.skip("colcon's installation lists no dependencies, package.xml does")
    built = {Requirement(r).name for r in requires("autogaze_ros")}
    assert built == {r.name for r in requirements()}, "the installed package is old: make setup"
