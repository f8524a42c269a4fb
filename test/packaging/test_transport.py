"""The shipped Fast DDS profile: images of 6 MB get through from process to process."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autogaze_ros.resources import transport_environment

PROFILE = Path(__file__).parents[2] / "config/fastdds_shm.xml"
IMAGES = 20
CHOICES = (
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "RMW_IMPLEMENTATION",
)

# Sends 1920 x 1080 rgb8 at 20 Hz, as a camera driver would.
CAMERA = f"""
import array, time, rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", 1)
pixels = array.array("B", bytes(1080 * 5760))
message = Image(width=1920, height=1080, step=5760, encoding="rgb8", data=pixels)
while not publisher.get_subscription_count():
    time.sleep(0.05)
time.sleep(0.5)
for _ in range({IMAGES}):
    publisher.publish(message)
    time.sleep(0.05)
time.sleep(1.0)
"""


def test_profile_is_the_default_and_replaces_the_builtin_transports():
    name = {"x": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(PROFILE).getroot()
    kinds = {
        t.findtext("x:transport_id", None, name): t for t in root.iterfind(".//x:transport_descriptor", name)
    }
    used = [t.text for t in root.iterfind(".//x:userTransports/x:transport_id", name)]
    assert [kinds[u].findtext("x:type", None, name) for u in used] == ["SHM", "UDPv4"]
    assert root.find(".//x:participant", name).get("is_default_profile") == "true"
    assert root.findtext(".//x:useBuiltinTransports", None, name) == "false"
    segment = int(root.findtext(".//x:segment_size", None, name))
    assert 2 * 1920 * 1080 * 3 < segment <= 16 * 2**20, "three processes have to fit into a container's 64 MB"


def test_large_images_arrive_best_effort(monkeypatch):
    """Without the profile none or one of them does."""
    rclpy = pytest.importorskip("rclpy")
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    camera = subprocess.Popen([sys.executable, "-c", CAMERA], env=os.environ | transport_environment())
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("receiver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received = []
    node.create_subscription(Image, "image", received.append, qos_profile_sensor_data)
    try:
        while camera.poll() is None:
            executor.spin_once(timeout_sec=0.1)
    finally:
        camera.kill()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert len(received) > IMAGES / 2
