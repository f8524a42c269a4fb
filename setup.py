"""The pip build: CMake makes the messages, setuptools puts everything into one wheel.

Python files go to site-packages, all else that CMake installs (libraries, ament index, launch and
config files, executables) into the folders of the environment: lib/ and share/.
"""

import os
import re
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

from scikit_build_core.setuptools.wrapper import setup
from setuptools import find_packages

HERE = Path(__file__).parent


def version() -> str:
    """The version of package.xml, which ROS's tools read and raise."""
    return ElementTree.parse(HERE / "package.xml").findtext("version", "")


def ros_prefix() -> str:
    """The folder whose share/ holds the ROS build tools that pip has just installed.

    Under build isolation that isn't the environment of this Python but a folder laid over it.
    """
    ament = distribution("ros-ament-cmake")
    config = next(f for f in ament.files or () if f.name == "ament_cmakeConfig.cmake")
    return str(Path(str(ament.locate_file(config))).resolve().parents[3])  # <prefix>/share/ament_cmake/cmake/


def wheel_files(files: list[str]) -> list[str]:
    """Leave out what would make the wheel uninstall badly, or is of no use in it.

    The ament .egg-info is a second, incomplete record of the same package: pip would trust it and
    leave files behind. Setup files are for sourcing a workspace, which an environment is not. What
    C++ code needs to build on the messages names folders that are gone once pip is done.
    """
    drop = re.compile(
        r"\.egg-info/|__pycache__"
        r"|/environment/|/local_setup\.|/package\.dsv$|/parent_prefix_path/"  # setup files
        r"|^include/|/cmake/|^autogaze_ros/.*\.c$"  # headers, exports, the generator's sources
    )
    return [f for f in files if not drop.search(f)]


# A sourced ROS workspace must not mix with the wheels that the isolated build runs on.
os.environ["AMENT_PREFIX_PATH"] = os.environ["CMAKE_PREFIX_PATH"] = ros_prefix()

setup(
    version=version(),
    packages=find_packages(include=["autogaze_ros", "autogaze_ros.*"]),
    cmake_source_dir=".",
    cmake_args=["-DPYTHON_INSTALL_DIR=.", "-DBUILD_TESTING=OFF"],  # ".": the wheel's root
    cmake_process_manifest_hook=wheel_files,
)
