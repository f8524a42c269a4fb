"""Where the package finds its files, and when it gives Fast DDS a profile."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from autogaze_ros.resources import share_folder, transport_environment

ROOT = Path(__file__).parents[1]
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
VARIABLES = (PROFILE, OLD_PROFILE, "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION", "ROS_DISTRO")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_share_folder_has_all_that_is_looked_for_in_it():
    folder = share_folder()
    assert {p.name for p in (folder / "msg").glob("*.msg")} == {p.name for p in (ROOT / "msg").glob("*.msg")}
    assert (folder / "config" / "fastdds_shm.xml").is_file()
    assert list((folder / "launch").glob("*.launch.py"))


def test_a_sourced_workspace_is_found_where_there_is_no_checkout(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(
        "autogaze_ros.resources.__file__", str(tmp_path / "lib" / "autogaze_ros" / "resources.py")
    )
    folder = tmp_path / "workspace" / "share" / "autogaze_ros"
    (folder / "msg").mkdir(parents=True)
    (folder / "msg" / "Fixation.msg").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}/other::{tmp_path}/workspace")
    assert share_folder() == folder


def test_a_package_in_parts_is_an_error(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(
        "autogaze_ros.resources.__file__", str(tmp_path / "lib" / "autogaze_ros" / "resources.py")
    )
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    with pytest.raises(FileNotFoundError, match="install autogaze_ros again"):
        share_folder()


@pytest.mark.parametrize(
    ("distribution", "name"),
    [("", PROFILE), ("kilted", PROFILE), ("jazzy", OLD_PROFILE), ("humble", OLD_PROFILE)],
)
@pytest.mark.parametrize("middleware", ["", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp"])
def test_fast_dds_gets_the_shipped_profile(monkeypatch, distribution: str, name: str, middleware: str):
    for variable, value in (("ROS_DISTRO", distribution), ("RMW_IMPLEMENTATION", middleware)):
        if value:
            monkeypatch.setenv(variable, value)
    (given,) = transport_environment().items()
    assert given[0] == name
    assert ElementTree.parse(given[1]).getroot().tag.endswith("dds")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (PROFILE, "/home/me/profile.xml"),
        (OLD_PROFILE, "/home/me/profile.xml"),
        ("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
        ("RMW_IMPLEMENTATION", "rmw_zenoh_cpp"),
    ],
)
def test_what_the_user_has_chosen_stays(monkeypatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    assert transport_environment() == {}
