"""What the launch files ask for, and that the real node takes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from autogaze_ros.resources import share_folder

PREFIXES = [Path(p) for p in (*os.environ.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix) if p]
PREFIX = next((p for p in PREFIXES if (p / "share/autogaze_ros").is_dir()), None)
CONFIG = share_folder() / "config"


def of_kind(actions, kind):
    return [a for a in actions if type(a).__name__ == kind]


def nodes(actions, executable="gaze_node"):
    return [n for n in of_kind(actions, "Node") if n.executable == executable]


def command(node):
    """The command line that launch_ros makes of a node."""
    words = [
        str(PREFIX / "lib" / node.package / node.executable),
        *getattr(node, "arguments", []),
        "--ros-args",
    ]
    words += getattr(node, "ros_arguments", [])
    words += ["-r", f"__node:={node.name}"]
    words += ["-r", f"__ns:=/{node.namespace.strip('/')}"] if getattr(node, "namespace", "") else []
    for entry in node.parameters:
        if isinstance(entry, dict):
            for name, value in entry.items():
                words += ["-p", f"{name}:={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"]
        else:
            words += ["--params-file", entry]
    for pair in node.remappings:
        words += ["-r", ":=".join(pair)]
    return words


def test_every_argument_has_a_description_and_a_default(launch_file):
    for name, given in (
        ("autogaze.launch.py", {}),
        ("demo.launch.py", {}),
        ("replay.launch.py", {"bag": "b"}),
    ):
        declared = of_kind(launch_file(name, **given), "DeclareLaunchArgument")
        assert declared
        assert all(d.description and isinstance(d.default_value, str) for d in declared)


def test_one_node_by_default(launch_file):
    (node,) = nodes(launch_file("autogaze.launch.py", image="/camera/image_raw"))
    assert (node.package, node.name, node.namespace) == ("autogaze_ros", "gaze_node", "")
    assert ("image", "/camera/image_raw") in node.remappings
    assert ("image/compressed", "/camera/image_raw/compressed") in node.remappings
    assert node.parameters == [str(CONFIG / "gaze_node.yaml")]  # whose words count


def test_arguments_override_the_parameter_file(launch_file):
    (node,) = nodes(
        launch_file(
            "autogaze.launch.py",
            source="patch_diff",
            image_transport="compressed",
            autostart="false",
            params_file="/my.yaml",
            log_level="debug",
        )
    )
    file, overrides = node.parameters
    assert file == "/my.yaml"
    assert overrides == {
        "source": "patch_diff",
        "image_transport": "compressed",
        "autostart": False,
    }
    assert node.ros_arguments == ["--log-level", "debug"]


@pytest.mark.parametrize("name", ["autogaze.launch.py", "demo.launch.py"])
@pytest.mark.parametrize("word", ["autostart", "use_sim_time", "source"])
def test_the_parameter_file_has_the_word_where_an_argument_is_not_given(launch_file, name, word):
    (node,) = nodes(launch_file(name, params_file="/my.yaml"))
    assert node.parameters[0] == "/my.yaml"
    assert not any(word in given for given in node.parameters[1:])
    (node,) = nodes(launch_file(name, **{word: "true"}))
    assert node.parameters[1][word] in (True, "true")


@pytest.mark.parametrize(
    ("around", "expected"), [("", ["front", "rear"]), ("robot/", ["robot/front", "robot/rear"])]
)
def test_one_node_for_each_camera(launch_file, around, expected):
    made = nodes(
        launch_file("autogaze.launch.py", cameras="front, /rear/", image="image_raw", namespace=around)
    )
    assert [n.namespace for n in made] == expected
    assert all(("image", "image_raw") in n.remappings for n in made)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"cameras": "front,front"}, "twice"),
        ({"cameras": "front,rear", "image": "/camera/image_raw"}, "/front/camera/image_raw"),
        ({"autostart": "maybe"}, "autostart:=maybe"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(launch_file, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        launch_file("autogaze.launch.py", **arguments)


@pytest.mark.parametrize(("word", "loop"), [("true", True), ("1", True), ("False", False), ("0", False)])
def test_the_demo_loops_as_it_is_told(launch_file, word, loop):
    (camera,) = nodes(launch_file("demo.launch.py", loop=word), "autogaze_camera")
    assert camera.parameters[0]["loop"] is loop
    with pytest.raises(ValueError, match="loop:=yes is neither"):
        launch_file("demo.launch.py", loop="yes")


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"), ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE")],
)
def test_transport_profile_is_set_under_the_name_that_the_distribution_reads(
    launch_file, monkeypatch, distribution, variable
):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    (setting,) = of_kind(launch_file("autogaze.launch.py"), "SetEnvironmentVariable")
    assert setting.args == (variable, str(CONFIG / "fastdds_shm.xml"))
    assert Path(setting.args[1]).is_file()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTDDS_DEFAULT_PROFILES_FILE", "/my.xml"),
        ("FASTRTPS_DEFAULT_PROFILES_FILE", "/my.xml"),
        ("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
    ],
)
def test_transport_stays_as_the_user_set_it(launch_file, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not of_kind(launch_file("autogaze.launch.py"), "SetEnvironmentVariable")


def test_rviz_looks_at_the_first_camera(launch_file):
    (rviz,) = nodes(launch_file("autogaze.launch.py", cameras="front,rear", rviz="true"), "rviz2")
    assert ("/gaze_node/overlay", "/front/gaze_node/overlay") in rviz.remappings
    layout = yaml.safe_load(Path(rviz.arguments[1]).read_text())
    shown = {d["Topic"]["Value"] for d in layout["Visualization Manager"]["Displays"]}
    assert shown == {topic for topic, _ in rviz.remappings}
    assert not nodes(launch_file("autogaze.launch.py"), "rviz2")


def test_demo_has_a_camera_that_the_node_looks_at(launch_file):
    actions = launch_file("demo.launch.py", video="/clip.mp4", source="patch_diff")
    (camera,), (node,) = nodes(actions, "autogaze_camera"), nodes(actions)
    assert dict(camera.remappings)["image"] == dict(node.remappings)["image"]
    assert camera.parameters[0]["video"] == "/clip.mp4"
    assert node.parameters[1]["source"] == "patch_diff"
    (recorded,) = nodes(
        launch_file("demo.launch.py", bag="/bag", image_transport="compressed"), "autogaze_camera"
    )
    assert "compressed" not in recorded.parameters[0], "the camera refuses it for a bag"
    (profile,) = of_kind(actions, "SetEnvironmentVariable")
    assert actions.index(profile) < actions.index(camera), "the sender needs the profile most"


def test_replay_is_the_command_with_the_arguments_in_it(launch_file):
    (replay,) = of_kind(
        launch_file(
            "replay.launch.py", bag="a, b", out="/o", topics="/t", arguments="-j 2 --set 'budget=40'"
        ),
        "ExecuteProcess",
    )
    assert replay.cmd[:6] == [sys.executable, "-m", "autogaze_ros", "replay", "a", "b"]
    assert replay.cmd[-6:] == ["--topic", "/t", "-j", "2", "--set", "budget=40"]
    assert replay.cmd[6:8] == ["--out", "/o"]
    assert Path(replay.cmd[replay.cmd.index("--params") + 1]).is_file()
    with pytest.raises(ValueError, match="name what to replay"):
        launch_file("replay.launch.py")


def test_replay_runs_what_its_launch_file_asks_for(launch_file, tmp_path):
    """On a video, with the parameter file that is shipped."""
    av = pytest.importorskip("av")
    for needed in ("rosbags", "mcap", "pyarrow"):
        pytest.importorskip(needed, reason=f"{needed} comes with pip's package, not with rosdep's")
    video = tmp_path / "clip.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48)
        frames = [av.VideoFrame(64, 48, "yuv420p") for _ in range(3)]
        container.mux([packet for frame in [*frames, None] for packet in stream.encode(frame)])
    given = {"bag": str(video), "out": str(tmp_path / "run"), "arguments": "--no-report"}
    (replay,) = of_kind(launch_file("replay.launch.py", **given), "ExecuteProcess")
    assert subprocess.run(replay.cmd, timeout=60).returncode == 0
    assert len((tmp_path / "run/frames.csv").read_text().splitlines()) == 4


def test_real_nodes_take_the_arguments(launch_file, tmp_path):
    """Start what the files ask for, as launch_ros would, and look at the ROS graph."""
    rclpy = pytest.importorskip("rclpy")
    if PREFIX is None:
        pytest.skip("autogaze_ros is not installed")
    made = nodes(launch_file("autogaze.launch.py", cameras="front,rear", source="patch_diff"))
    made += nodes(launch_file("demo.launch.py"), "autogaze_camera")
    log = (tmp_path / "log").open("w+")
    running = [subprocess.Popen(command(n), stdout=log, stderr=log) for n in made]
    context = rclpy.Context()
    rclpy.init(context=context)
    watcher = rclpy.create_node("watcher", context=context)
    try:
        wanted = {"/front/image_raw", "/rear/image_raw"}
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            subscribed = {t for t in wanted if watcher.count_subscribers(t)}
            sent = watcher.count_publishers("/camera/image_raw")
            published = {
                t for t in wanted if watcher.count_publishers(t.replace("image_raw", "gaze_node/fixations"))
            }
            if subscribed == published == wanted and sent:
                break
            time.sleep(0.2)
        else:
            log.seek(0)
            pytest.fail(f"after 30 s only {subscribed | published} of {wanted}\n{log.read()}")
    finally:
        watcher.destroy_node()
        rclpy.shutdown(context=context)
        for process in running:
            process.send_signal(signal.SIGINT)  # as launch does
        status = [process.wait(20) for process in running]
        log.close()
    assert status == [0, 0, 0]
