"""What the writer writes, read back by others."""

from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

import autogaze_ros
from autogaze_ros.replay.mcap_writer import McapWriter, type_store

DEFINITIONS = Path(autogaze_ros.__file__).parents[1] / "msg"
IMAGE, GAZE = "sensor_msgs/msg/Image", "autogaze_ros/msg/FixationArray"
STAMP = 1_700_000_000_123_456_789


def filled(kind: str, **values):
    """A message of a type of this package, with nothing in the fields that are not named."""
    types, fields = type_store().types, type_store().fielddefs[kind][1]
    empty = {name: "" if of[1] == ("string", 0) else 0 for name, of in fields}
    return types[kind](**(empty | values))


def fixation_array():
    types = type_store().types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](3, 4), "camera")
    fixation = filled("autogaze_ros/msg/Fixation", token_id=70, x1=92, predicted_loss=np.nan)
    return filled(GAZE, header=header, source="greedy", keyframe=True, psnr=np.inf, fixations=[fixation] * 3)


@pytest.fixture
def recorded(tmp_path: Path, messages) -> Path:
    path = tmp_path / "new" / "folder" / "out.mcap"
    with McapWriter(path) as writer:
        for index, message in enumerate(messages[IMAGE]):
            writer.write("/camera", IMAGE, bytes(type_store().serialize_cdr(message, IMAGE)), STAMP + index)
            data = bytes(type_store().serialize_cdr(fixation_array(), GAZE))
            writer.write("/gaze/fixations", GAZE, data, STAMP + index)
    return path


def test_mcaps_own_reader_opens_it(recorded: Path, messages):
    with recorded.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        found = [(s.name, c.topic, m) for s, c, m in reader.iter_messages()]
        assert {c.message_encoding for c in reader.get_summary().channels.values()} == {"cdr"}
    assert len(found) == 12
    for kind, topic in ((IMAGE, "/camera"), (GAZE, "/gaze/fixations")):
        mine = [m for name, at, m in found if at == topic and name == kind]
        assert [m.log_time for m in mine] == [STAMP + index for index in range(6)]
        assert [m.publish_time for m in mine] == [m.log_time for m in mine]
        assert [m.sequence for m in mine] == list(range(6))


def test_rosbags_opens_it_with_the_definitions_inside_alone(recorded: Path, pictures):
    with AnyReader([recorded]) as reader:  # no type store: it must do with what the file says
        assert {c.topic: c.msgtype for c in reader.connections} == {
            "/camera": IMAGE,
            "/gaze/fixations": GAZE,
        }
        found = [(c.topic, reader.deserialize(data, c.msgtype)) for c, _, data in reader.messages()]
    images = [message.data.reshape(24, 32, 3) for topic, message in found if topic == "/camera"]
    np.testing.assert_array_equal(images, pictures)
    gaze = next(message for topic, message in found if topic == "/gaze/fixations")
    assert (gaze.source, gaze.keyframe, gaze.psnr, len(gaze.fixations)) == ("greedy", True, np.inf, 3)
    assert (gaze.fixations[2].token_id, gaze.fixations[2].x1) == (70, 92)
    assert np.isnan(gaze.fixations[0].predicted_loss)


def test_embedded_definitions_are_those_of_the_msg_files(recorded: Path):
    with recorded.open("rb") as file:
        schemas = {s.name: s for s in make_reader(file).get_summary().schemas.values()}
    assert schemas[GAZE].encoding == "ros2msg"
    inside = get_types_from_msg(schemas[GAZE].data.decode(), GAZE)
    for name in ("FixationArray", "Fixation"):
        kind = f"autogaze_ros/msg/{name}"
        text = (DEFINITIONS / f"{name}.msg").read_text()
        assert inside[kind][1] == get_types_from_msg(text, kind)[kind][1], f"fields of {name} differ"


def test_type_store_knows_every_message_of_the_package():
    store, plain = type_store(), get_typestore(Stores.ROS2_JAZZY)
    for path in DEFINITIONS.glob("*.msg"):
        assert f"autogaze_ros/msg/{path.stem}" in store.types
        assert f"autogaze_ros/msg/{path.stem}" not in plain.types


def test_a_file_is_finished_also_where_the_program_fails(tmp_path: Path, messages):
    path = tmp_path / "half.mcap"
    data = bytes(type_store().serialize_cdr(messages[IMAGE][0], IMAGE))
    with pytest.raises(RuntimeError, match="of the program"), McapWriter(path) as writer:  # noqa: PT012
        writer.write("/camera", IMAGE, data, STAMP)
        raise RuntimeError("of the program")
    writer.close()  # a second time does nothing
    with path.open("rb") as file:
        assert len(list(make_reader(file).iter_messages())) == 1
