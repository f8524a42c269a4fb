"""Images of bags of both storages, and an error of one kind for everything that is not such a bag."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from autogaze_ros.replay.bag_images import bag_images
from autogaze_ros.replay.clips import ClipError
from autogaze_ros.replay.mcap_writer import McapWriter, type_store

IMAGE, COMPRESSED, HEADER = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "std_msgs/msg/Header",
)
STORAGES = ["SQLITE3", "MCAP"]


def only_file(folder: Path) -> Path:
    (data,) = (path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))
    return data


@pytest.mark.parametrize("storage", STORAGES)
def test_raw_images_come_in_order_with_stamp_and_pixels(make_bag, pictures, storage: str):
    found = list(bag_images(make_bag({"/camera": IMAGE, "/other": HEADER}, storage)))
    assert [(stamp, kind) for stamp, kind, _ in found] == [(i * 1000, IMAGE) for i in range(len(pictures))]
    for index, (_, _, message) in enumerate(found):
        assert (message.header.frame_id, message.header.stamp.nanosec) == ("camera", index * 1000)
        assert (message.encoding, message.step) == ("rgb8", 96)
        np.testing.assert_array_equal(message.data.reshape(24, 32, 3), pictures[index])


@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_images(make_bag, pictures, storage: str):
    found = list(bag_images(make_bag({"/camera/compressed": COMPRESSED}, storage)))
    assert {kind for _, kind, _ in found} == {COMPRESSED}
    decoded = [cv2.imdecode(message.data, cv2.IMREAD_COLOR)[:, :, ::-1] for _, _, message in found]
    np.testing.assert_array_equal(decoded, pictures)


@pytest.mark.parametrize("storage", STORAGES)
def test_of_several_topics_the_named_one_or_the_first_by_name(make_bag, storage: str):
    bag = make_bag(
        {"/z": IMAGE, "/a/not_an_image": HEADER, "/b/compressed": COMPRESSED, "/c": IMAGE}, storage
    )
    assert {kind for _, kind, _ in bag_images(bag)} == {COMPRESSED}
    assert {kind for _, kind, _ in bag_images(bag, "/z")} == {IMAGE}
    assert len(list(bag_images(bag, "/c"))) == 6


@pytest.mark.parametrize("topic", ["/nope", "/header"])
def test_a_topic_without_images_is_an_error_that_names_those_with(make_bag, topic: str):
    bag = make_bag({"/header": HEADER, "/camera": IMAGE})
    with pytest.raises(ClipError, match=rf"no image topic {topic}; its image topics: /camera"):
        next(bag_images(bag, topic))


def test_a_bag_without_images_is_an_error(make_bag):
    with pytest.raises(ClipError, match="no image topic at all; its image topics: none"):
        next(bag_images(make_bag({"/header": HEADER})))


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text file", "ros1 name"])
def test_what_is_no_bag_is_an_error_that_names_it(tmp_path: Path, kind: str):
    path = tmp_path / ("thing.bag" if kind == "ros1 name" else "thing")
    if kind == "empty folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("no bag")
    with pytest.raises(ClipError, match=str(path)):
        next(bag_images(path))


@pytest.mark.parametrize("metadata", [b"", b"x: [", b"\xff\xfe", b"rosbag2_bagfile_information: {}"])
def test_bad_metadata_is_an_error(make_bag, metadata: bytes):
    bag = make_bag({"/camera": IMAGE})
    (bag / "metadata.yaml").write_bytes(metadata)
    with pytest.raises(ClipError, match="can't be read as a bag"):
        next(bag_images(bag))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_a_bag_that_was_cut_off_is_an_error(make_bag, storage: str, share: float):
    bag = make_bag({"/camera": IMAGE}, storage)
    data = only_file(bag)
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    with pytest.raises(ClipError, match="can't be read as a bag"):
        list(bag_images(bag))


def test_damaged_messages_are_an_error(tmp_path: Path, messages):
    path = tmp_path / "damaged.mcap"
    with McapWriter(path) as writer:
        for index, message in enumerate(messages[IMAGE]):
            writer.write("/camera", IMAGE, bytes(type_store().serialize_cdr(message, IMAGE)), index)
    data = bytearray(path.read_bytes())
    middle = data.index(b"\x28\xb5\x2f\xfd") + 200  # inside the chunk, which begins with Zstandard's mark
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"damaged\.mcap can't be read as a bag"):
        list(bag_images(path))
