"""The drawn clip and video files."""

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from autogaze_ros.replay.clips import ClipError, DrawnClip, Video


def test_the_drawn_clip_is_the_same_every_time():
    clip = DrawnClip(160, 120, 9)
    first, second = list(clip), list(clip)
    assert len(first) == 9
    assert all(p.shape == (120, 160, 3) and p.dtype == np.uint8 for p in first)
    np.testing.assert_array_equal(first, second)


def test_its_pictures_move_and_are_the_callers_own():
    pictures = DrawnClip(160, 120, 8)
    clip = []
    for picture in pictures:
        clip.append(picture.copy())
        picture[:] = 0
    np.testing.assert_array_equal(clip, list(pictures))
    assert all((one != other).any() for one, other in pairwise(clip))


def test_the_cut_comes_at_three_quarters():
    clip = [p.astype(int) for p in DrawnClip(160, 120, 40)]
    changes = [np.abs(a - b).mean() for a, b in pairwise(clip)]
    assert int(np.argmax(changes)) == 29
    assert changes[29] > 2 * sorted(changes)[-2]


@pytest.mark.parametrize("size", [(1, 1), (16, 8), (30, 47), (641, 333), (64, 1)])
def test_it_is_drawn_at_any_size(size: tuple[int, int]):
    width, height = size
    assert [p.shape for p in DrawnClip(width, height, 3)] == [(height, width, 3)] * 3


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"height": -1}, {"frames": 0}, {"rate": 0.0}, {"rate": float("nan")}]
)
def test_nothing_can_be_drawn_of_nothing(values: dict):
    with pytest.raises(ClipError, match="can't be drawn"):
        DrawnClip(**values)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """30 frames of a ramp that brightens, MPEG-4 at 25 frames a second, in a container that streams."""
    path = tmp_path_factory.mktemp("video") / "ramp.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25), width=64, height=48, bit_rate=2_000_000)
        for index in range(30):
            ramp = np.linspace(0, 120, 64) + index * 4
            picture = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_gives_its_pictures_and_rate(video: Path):
    clip = Video(video)
    pictures = list(clip)
    assert clip.rate == 25
    assert len(pictures) == 30
    assert {(p.shape, p.dtype) for p in pictures} == {((48, 64, 3), np.dtype(np.uint8))}
    assert [p[:, 32].mean() for p in pictures] == pytest.approx([60 + 4 * i for i in range(30)], abs=6)
    np.testing.assert_array_equal(list(islice(clip, 3)), pictures[:3])  # it can be read again


def test_a_missing_video_is_an_error_that_names_it(tmp_path: Path):
    for use in (lambda v: next(iter(v)), lambda v: v.rate):
        with pytest.raises(ClipError, match=r"none\.mp4"):
            use(Video(tmp_path / "none.mp4"))


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 100, bytes(5000)])
def test_what_is_no_video_is_an_error_that_names_it(tmp_path: Path, content: bytes):
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    for use in (lambda v: next(iter(v)), lambda v: v.rate):
        with pytest.raises(ClipError, match=r"odd\.mp4"):
            use(Video(path))


def test_sound_alone_is_an_error(tmp_path: Path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ClipError, match="no video stream"):
        next(iter(Video(path)))


def test_a_video_that_was_cut_off_plays_to_where_it_is_cut(video: Path, tmp_path: Path):
    path = tmp_path / "cut.mkv"
    path.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    assert 5 <= len(list(Video(path))) < 30


def test_a_video_cut_before_its_first_picture_is_an_error(video: Path, tmp_path: Path):
    path = tmp_path / "head.mkv"
    path.write_bytes(video.read_bytes()[:40])
    with pytest.raises(ClipError, match=r"head\.mkv"):
        list(Video(path))
