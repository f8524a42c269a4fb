"""Where the package's own files are: messages, configuration, the transport's profile, the built-in model."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def share_folder() -> Path:
    """The folder that holds msg/, config/ and launch/: the checkout, a workspace's or an environment's share.

    Raises:
        FileNotFoundError: the package is not installed as a whole.
    """
    candidates = [Path(__file__).resolve().parents[1]]
    candidates += [
        Path(p) / "share" / "autogaze_ros" for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p
    ]
    candidates.append(Path(sys.prefix) / "share" / "autogaze_ros")
    for folder in candidates:
        if (folder / "msg" / "Fixation.msg").is_file():
            return folder
    raise FileNotFoundError(
        f"the package's msg folder is in none of {', '.join(map(str, candidates))}; install autogaze_ros again"
    )


def model_folder(name: str) -> Path:
    """The folder that the parameter ``model`` names: ``builtin`` is the model that comes with the package.

    ``~`` of a user whom there isn't stays as it is, for the load to say that there is no such folder.
    """
    if name == "builtin":
        return Path(__file__).parent / "weights" / "builtin"
    return Path(os.path.expanduser(name))


def transport_environment() -> dict[str, str]:
    """The variable that gives Fast DDS the shipped profile; empty where the user has chosen one or another middleware.

    Without it images of more than a few hundred kilobytes get lost on their way (see README, "Transport").
    """
    chosen = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if any(os.environ.get(name) for name in chosen) or "fastrtps" not in middleware:
        return {}
    # Fast DDS 2, of the older distributions, knows the old name only.
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    name = "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"
    return {name: str(share_folder() / "config" / "fastdds_shm.xml")}
