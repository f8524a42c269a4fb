"""Images of recordings, videos and folders; what is broken is named and the rest is read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import zstandard

from autogaze_ros.gaze import Frame
from autogaze_ros.replay.bag import BagInput
from autogaze_ros.replay.clips import ClipError
from autogaze_ros.replay.mcap_writer import McapWriter, type_store
from autogaze_ros.replay.reader import Problem, open_input

IMAGE, COMPRESSED, HEADER = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "std_msgs/msg/Header",
)
STORAGES = ["SQLITE3", "MCAP"]


def only_file(folder: Path) -> Path:
    (data,) = (path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))
    return data


def causes(path: Path) -> list[str]:
    with open_input(path) as source:
        list(source.images())
        return sorted({problem.cause for problem in source.problems})


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("bare", [False, True])
def test_raw_images_come_in_order_with_stamp_and_pixels(make_bag, pictures, storage: str, bare: bool):
    bag = make_bag({"/camera": IMAGE, "/other": HEADER}, storage)
    with open_input(only_file(bag) if bare else bag) as source:
        assert source.topics["/camera"].count == 6
        assert source.others == {"/other": HEADER}
        found = list(source.images("/camera"))
        assert source.problems == []
    assert [line[:4] for line in found] == [
        ("/camera", i, 10**9 + i * 1000, "camera") for i in range(len(pictures))
    ]
    for (*_, frame), picture in zip(found, pictures, strict=True):
        assert (frame.encoding, frame.order) == ("rgb8", "rgb")
        np.testing.assert_array_equal(frame.pixels, picture)


@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_images(make_bag, pictures, storage: str):
    with open_input(make_bag({"/camera/compressed": COMPRESSED}, storage)) as source:
        found = [frame.rgb() for *_, frame in source.images()]
    np.testing.assert_array_equal(found, pictures)


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_for_those_who_send_them_again(make_bag, pictures, storage: str):
    with BagInput(make_bag({"/camera": IMAGE}, storage)) as bag:
        found = list(bag.recorded())
    assert [(image.log_time, image.kind) for image in found] == [(i * 1000, IMAGE) for i in range(6)]
    np.testing.assert_array_equal(found[3].message().data.reshape(24, 32, 3), pictures[3])


@pytest.mark.parametrize("storage", STORAGES)
def test_topics_are_chosen_by_name_and_what_is_no_image_topic_is_named(make_bag, storage: str):
    bag = make_bag({"/z": IMAGE, "/a/none": HEADER, "/b/compressed": COMPRESSED}, storage)
    with open_input(bag) as source:
        assert source.choose([]) == ["/b/compressed", "/z"]
        assert source.choose(["/z", "/a/none", "/nope"]) == ["/z"]
        assert [(p.topic, p.cause) for p in source.problems] == [("", "type"), ("", "topic")]
        assert {line[0] for line in source.images()} == {"/b/compressed", "/z"}
        with pytest.raises(ClipError, match="no image topic /nope; its image topics: /b/compressed, /z"):
            next(source.images("/nope"))


def test_what_a_gaze_node_drew_is_gazed_at_for_want_of_others_only(tmp_path: Path):
    with McapWriter(tmp_path / "bag.mcap") as writer:
        for topic in ("/gaze_node/camera/compressed", "/gaze_node/overlay/compressed"):
            writer.write(topic, COMPRESSED, b"", 5)
        writer.write("/gaze_node/fixations", "autogaze_ros/msg/FixationArray", b"", 5)
    with open_input(tmp_path / "bag.mcap") as source:
        assert source.choose(["/gaze_node/overlay/compressed"]) == ["/gaze_node/overlay/compressed"]
        assert source.problems == []
        assert source.choose([]) == ["/gaze_node/camera/compressed"]
        (problem,) = source.problems
        assert problem.cause == "drawn"
        assert "left out" in problem.text
        del source.topics["/gaze_node/camera/compressed"]
        assert source.choose([]) == ["/gaze_node/overlay/compressed"]


def test_a_bag_without_images_is_an_error(make_bag):
    with (
        open_input(make_bag({"/header": HEADER})) as source,
        pytest.raises(ClipError, match="no image topic at all; its image topics: none"),
    ):
        source.choose([])


@pytest.mark.parametrize(
    "kind", ["missing", "empty folder", "text file", "ros1 name", "text as mcap", "text as db3"]
)
def test_what_is_nothing_of_all_that_is_an_error_that_names_it(tmp_path: Path, kind: str):
    path = tmp_path / ("thing.bag" if kind == "ros1 name" else f"thing.{kind.split()[-1]}")
    if kind == "empty folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("no bag" * 100)
    with pytest.raises(ClipError, match=str(path)):
        open_input(path)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "metadata", [None, b"", b"x: [", b"\xff\xfe", b"rosbag2_bagfile_information: {}", b"[1, 2]"]
)
def test_metadata_that_is_missing_or_bad_is_named(make_bag, storage: str, metadata: bytes | None):
    bag = make_bag({"/camera": IMAGE}, storage)
    (bag / "metadata.yaml").unlink()
    if metadata is not None:
        (bag / "metadata.yaml").write_bytes(metadata)
    assert causes(bag) == ["metadata"]
    with open_input(bag) as source:
        assert len(list(source.images())) == 6


def test_a_file_that_is_missing_is_named_and_the_others_are_read(make_bag):
    bag = make_bag({"/camera": IMAGE}, "SQLITE3")
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(
        text.replace("- bag_SQLITE3.db3", "- bag_SQLITE3.db3\n    - lost.db3", 1)
    )
    assert causes(bag) == ["file"]


def long_bag(folder: Path, storage: str, count: int = 60, side: int = 140) -> Path:
    """A bag of noise that takes many pages and chunks."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    types, noise = type_store().types, np.random.default_rng(1)
    with Writer(folder, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        connection = writer.add_connection("/camera", IMAGE, typestore=type_store())
        for index in range(count):
            header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, index), "c")
            data = noise.integers(0, 255, side * side * 3, np.uint8)
            message = types[IMAGE](header, side, side, "rgb8", 0, side * 3, data)
            writer.write(connection, 10**9 + index, type_store().serialize_cdr(message, IMAGE))
    return folder


def pixels_of(path: Path) -> list[bytes]:
    with open_input(path) as source:
        return [frame.pixels.tobytes() for *_, frame in source.images() if isinstance(frame, Frame)]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.93, 0.999])
def test_a_bag_that_was_cut_off_gives_what_is_whole(tmp_path: Path, storage: str, share: float):
    bag = long_bag(tmp_path / "bag", storage)
    whole, file = pixels_of(bag), only_file(bag)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    found = pixels_of(bag)
    assert found == whole[: len(found)]
    assert share * 60 - 8 <= len(found) <= 60
    assert causes(bag) == ["cut"]


def test_rows_are_found_where_sqlites_own_tree_leads_behind_the_cut(tmp_path: Path):
    bag = long_bag(tmp_path / "bag", "SQLITE3", count=4000, side=16)
    whole, file = pixels_of(bag), only_file(bag)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = pixels_of(bag)
    assert 1900 < len(found) < 2100
    assert found == whole[: len(found)]


def test_rows_of_other_tables_do_not_hide_messages(tmp_path: Path):
    """Their numbers begin at 1 too, and their pages may come last."""
    bag = long_bag(tmp_path / "bag", "SQLITE3", count=60, side=16)
    whole, file = pixels_of(bag), only_file(bag)
    base = sqlite3.connect(file)
    for number in range(2, 40):  # topics that were added late, with so much of QoS that they take pages
        base.execute(
            "INSERT INTO topics VALUES (?, ?, ?, 'cdr', ?, '')", (number, f"/t{number}", HEADER, "q" * 900)
        )
    base.execute("CREATE TABLE tail (data BLOB)")
    base.execute("INSERT INTO tail VALUES (?)", (b"x" * 200_000,))
    base.commit()
    base.close()
    file.write_bytes(file.read_bytes()[: file.stat().st_size - 100_000])
    assert pixels_of(bag) == whole
    assert causes(bag) == ["cut"]


@pytest.mark.parametrize("length", [b"\xff" * 9, b"\xbf\xff\xff\xff\x7f"])
def test_a_damaged_length_in_a_row_ends_soon(tmp_path: Path, length: bytes):
    bag = long_bag(tmp_path / "bag", "SQLITE3", count=400, side=16)
    whole, file = pixels_of(bag), only_file(bag)
    data = bytearray(file.read_bytes())
    rows = 0
    for page in range(20 * 4096, len(data), 4096):  # the length of a row, or of its head, on every page
        if data[page] == 0x0D:
            place = page + int.from_bytes(data[page + 8 : page + 10], "big")
            place += rows % 2 * 3
            data[place : place + len(length)] = length
            rows += 1
    file.write_bytes(data[:-4096])
    found = pixels_of(bag)
    assert rows > 10
    assert 0 < len(found) < len(whole)
    assert set(found) < set(whole)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0, 0.0001])
def test_a_bag_of_which_nothing_is_left_is_an_error(make_bag, storage: str, share: float):
    bag = make_bag({"/camera": IMAGE}, storage)
    data = only_file(bag)
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    with pytest.raises(ClipError, match="can't be read as a bag"):
        open_input(bag)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_chunk_is_left_out_and_named(tmp_path: Path, compressed: bool):
    bag = long_bag(tmp_path / "bag", "MCAP")
    whole, path = pixels_of(bag), only_file(bag)
    if compressed:
        with BagInput(bag) as source, McapWriter(tmp_path / "packed.mcap") as writer:
            for image in source.recorded():
                writer.write(image.topic, image.kind, bytes(image._data), image.log_time)
        path = tmp_path / "packed.mcap"
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 64):
        data[place] ^= 0xFF
    path.write_bytes(data)
    found = pixels_of(path)
    if compressed:  # with a checksum
        assert 0 < len(found) < len(whole)
        assert set(found) < set(whole)
        assert causes(path) == ["damaged"]
    else:  # rosbags writes none: the pixels are taken as they are
        assert len(found) == len(whole)


def test_damaged_pages_are_left_out_and_named(tmp_path: Path):
    bag = long_bag(tmp_path / "bag", "SQLITE3")
    whole, file = pixels_of(bag), only_file(bag)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4 * 4096] = b"\x55" * 4 * 4096
    file.write_bytes(data)
    found = pixels_of(bag)
    assert len(whole) - 3 <= len(found) < len(whole)
    assert len(set(whole) - set(found)) <= 3
    assert causes(bag) == ["damaged"]


def test_a_recorder_that_was_killed_leaves_a_log_that_counts(tmp_path: Path):
    bag = long_bag(tmp_path / "bag", "SQLITE3")
    file = only_file(bag)
    base = sqlite3.connect(file)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("DELETE FROM messages WHERE id > 40")
    base.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in (file, file.with_name(file.name + "-wal")):
        (copy / part.name).write_bytes(part.read_bytes())
    base.close()
    assert len(pixels_of(copy)) == 40


def test_compressed_files_and_messages(tmp_path: Path):
    bag = long_bag(tmp_path / "bag", "SQLITE3", 8)
    whole, file = pixels_of(bag), only_file(bag)
    base = sqlite3.connect(file)
    for number, data in base.execute("SELECT id, data FROM messages").fetchall():
        base.execute("UPDATE messages SET data = ? WHERE id = ?", (zstandard.compress(data), number))
    base.commit()
    base.close()
    assert pixels_of(bag) == whole
    (bag / f"{file.name}.zstd").write_bytes(zstandard.compress(file.read_bytes()))
    file.unlink()
    assert pixels_of(bag) == whole
    assert causes(bag) == []


def test_compressed_files_are_unpacked_one_at_a_time(tmp_path: Path, make_bag, pictures, monkeypatch):
    source = only_file(make_bag({"/camera": IMAGE}))
    bag, temporary = tmp_path / "packed", tmp_path / "temporary"
    bag.mkdir()
    temporary.mkdir()
    for number in range(3):
        (bag / f"bag_{number}.mcap.zstd").write_bytes(zstandard.compress(source.read_bytes()))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with open_input(bag) as packed:
        assert packed.topics["/camera"].count == 18
        assert packed.begin == 0
        assert list(temporary.iterdir()) == []
        for _, index, _, _, frame in packed.images():
            assert len(list(temporary.rglob("*.mcap"))) == 1
            np.testing.assert_array_equal(frame.pixels, pictures[index % 6])
        assert index == 17
    assert list(temporary.iterdir()) == []


def test_images_that_can_not_be_used_come_as_problems(tmp_path: Path, messages):
    good = messages[IMAGE][0]
    types = type_store().types
    short = types[IMAGE](good.header, 24, 32, "rgb8", 0, 96, good.data[:-1])
    odd = types[IMAGE](good.header, 24, 32, "rgb9", 0, 96, good.data)
    with McapWriter(tmp_path / "bad.mcap") as writer:
        for time, message in enumerate((good, short, odd)):
            writer.write("/camera", IMAGE, bytes(type_store().serialize_cdr(message, IMAGE)), time)
        writer.write("/camera", IMAGE, b"\0\1\0\0 no such message", 3)
        jpeg = types[COMPRESSED](good.header, "jpeg", np.frombuffer(b"\xff\xd8 cut", np.uint8))
        writer.write("/jpeg", COMPRESSED, bytes(type_store().serialize_cdr(jpeg, COMPRESSED)), 4)
        writer.write("/camera", IMAGE, bytes(type_store().serialize_cdr(good, IMAGE)), 5)
    with open_input(tmp_path / "bad.mcap") as source:
        found = [(line[0], line[1], getattr(line[4], "cause", "")) for line in source.images()]
    assert found == [
        ("/camera", 0, ""),
        ("/camera", 1, "short"),
        ("/camera", 2, "encoding"),
        ("/camera", 3, "message"),
        ("/jpeg", 0, "undecodable"),
        ("/camera", 4, ""),
    ]


def test_a_video(tmp_path: Path):
    path = tmp_path / "ramp.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=64, height=48, bit_rate=2_000_000)
        for index in range(30):
            picture = np.full((48, 64, 3), index * 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with open_input(path) as source:
        found = list(source.images())
        assert source.choose([]) == ["/video"]
    assert [line[:3] for line in found] == [("/video", i, i * 40_000_000) for i in range(30)]
    assert [f.pixels.mean() for *_, f in found] == pytest.approx([i * 8 for i in range(30)], abs=4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with open_input(path) as source:
        assert 5 <= len(list(source.images())) < 30


def test_each_packet_of_a_video_that_can_not_be_decoded_is_a_problem_with_its_number(tmp_path: Path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25, width=64, height=48, pix_fmt="rgb24")
        for index in range(40):
            picture = np.full((48, 64, 3), index * 6, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                if index % 5 == 0:
                    bad = av.Packet(b"no picture")
                    bad.pts, bad.dts, bad.time_base, bad.stream = (
                        packet.pts,
                        packet.dts,
                        packet.time_base,
                        stream,
                    )
                    packet = bad
                container.mux(packet)
    with open_input(path) as source:
        found = list(source.images())
        assert source.problems == []
    assert [line[1] for line in found] == list(range(40))
    bad = [line[4] for line in found if isinstance(line[4], Problem)]
    assert [(problem.index, problem.cause) for problem in bad] == [
        (i, "undecodable") for i in range(0, 40, 5)
    ]
    assert [line[4].pixels[0, 0, 0] for line in found if isinstance(line[4], Frame)] == [
        index * 6 for index in range(40) if index % 5
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_file_that_was_cut_off_is_not_taken_for_a_grey_one(tmp_path: Path, pictures, suffix: str):
    for index, picture in enumerate(pictures):
        large = (
            np.random.default_rng(index).integers(0, 255, (96, 128, 3), np.uint8) // 2 + picture[0, 0] // 2
        )
        cv2.imwrite(str(tmp_path / f"{index}{suffix}"), large)
    cut = tmp_path / f"2{suffix}"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with open_input(tmp_path) as source:
        found = [line[4] for line in source.images()]
    assert [isinstance(frame, Problem) for frame in found] == [False, False, True, False, False, False]
    assert found[2].text == f"2{suffix} is cut off or can't be decoded"


def test_images_of_several_formats_are_one_stream(tmp_path: Path, pictures):
    from autogaze_ros.pipeline import Pipeline
    from autogaze_ros.settings import Settings

    for index, suffix in enumerate((".png", ".bmp", ".png", ".jpg")):
        cv2.imwrite(str(tmp_path / f"{index}{suffix}"), pictures[0])
    pipeline = Pipeline(Settings())
    with open_input(tmp_path) as source:
        for *_, frame in source.images():
            pipeline.step(frame)
    assert pipeline.resets == {"start": 1}


def test_a_folder_of_images_in_the_order_of_their_numbers(tmp_path: Path, pictures):
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"frame_{index * 4}.png"), picture[:, :, ::-1])
    (tmp_path / "frame_9.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    with open_input(tmp_path, rate=10) as source:
        found = list(source.images())
    assert [line[:3] for line in found] == [("/images", i, i * 100_000_000) for i in range(7)]
    assert isinstance(found[3][4], Problem)
    assert found[3][4].cause == "undecodable"
    np.testing.assert_array_equal([f.rgb() for *_, f in found if isinstance(f, Frame)], pictures)
