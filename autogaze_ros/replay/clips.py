"""Clips to play: one that this package draws itself, and video files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import AutogazeError

Picture = NDArray[np.uint8]


class ClipError(AutogazeError, ValueError):
    """A clip that can't be played; the message names it and the remedy."""


@dataclass(frozen=True)
class Video:
    """A video file.

    Args:
        path: any container and codec that FFmpeg reads.
    """

    path: Path

    @property
    def rate(self) -> float:
        """Frames a second as the file says, 30 where it does not.

        Raises:
            ClipError: the file is missing, damaged or holds no video.
        """
        with open_video(self.path) as container:
            return float(container.streams.video[0].average_rate or 30)

    def __iter__(self) -> Iterator[Picture]:
        """(H, W, 3) uint8 RGB pictures. A damaged end of the file ends the clip early.

        Raises:
            ClipError: the file is missing, holds no video, or not one picture can be decoded.
        """
        import av

        count = 0
        with open_video(self.path) as container:
            try:
                for picture in container.decode(video=0):
                    count += 1
                    yield picture.to_ndarray(format="rgb24")
            except av.error.FFmpegError as error:
                if not count:
                    raise ClipError(f"{self.path} can't be decoded: {error}") from error


def open_video(path: Path) -> Any:
    """An open PyAV container with a video stream.

    Raises:
        ClipError: it can't be opened, or holds no video.
    """
    try:
        import av
    except ImportError as error:
        raise ClipError(f"reading {path} needs PyAV: pip install av") from error
    try:
        container = av.open(str(path))
    except (OSError, av.error.FFmpegError) as error:
        raise ClipError(f"{path} can't be opened as a video: {error}") from error
    if not container.streams.video:
        container.close()
        raise ClipError(f"{path} holds no video stream")
    return container


@dataclass(frozen=True)
class DrawnClip:
    """A scene that is drawn, the same every time: a still room, moving things, a slow pan, and a cut.

    Args:
        width: pixels.
        height: pixels.
        frames: length; the pan begins at half and the cut comes at three quarters of it.
        rate: frames a second.

    Raises:
        ClipError: a number that is not above 0.
    """

    width: int = 640
    height: int = 480
    frames: int = 300
    rate: float = 30.0

    def __post_init__(self) -> None:
        if not all(number > 0 for number in (self.width, self.height, self.frames, self.rate)):
            raise ClipError(
                f"a clip of {self.frames} frames of {self.width} x {self.height} at {self.rate}/s can't be drawn"
            )

    def __iter__(self) -> Iterator[Picture]:
        """(H, W, 3) uint8 RGB pictures."""
        noise = np.random.default_rng(7)
        rooms = [_room(self.width, self.height, seed) for seed in (1, 2)]
        for index in range(self.frames):
            second = index >= self.frames * 3 // 4
            room = rooms[second]
            pan = max(0, index - self.frames // 2) if not second else 0
            shift = min(pan, room.shape[1] - self.width)
            picture = room[:, shift : shift + self.width].copy()
            _ball(picture, index / self.rate)
            _robot(picture, index / self.rate, second)
            # A camera's own noise, the same for the colours as most of it is brightness.
            grain = noise.normal(0, 1.2, (self.height, self.width, 1)).astype(np.float32)
            yield np.clip(picture + grain, 0, 255).astype(np.uint8)


def _room(width: int, height: int, seed: int) -> Picture:
    """A wall with pictures over a wooden floor, wider than the camera sees so that it can pan."""
    rng = np.random.default_rng(seed)
    wide = width * 3 // 2
    cloud = sum(
        cv2.resize(
            rng.normal(0, 24 / (level + 1), (3 * 2**level, 4 * 2**level)).astype(np.float32),
            (wide, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for level in range(5)
    )
    wall = np.array([(150, 168, 176), (186, 160, 130)][seed % 2], np.float32)
    light = np.repeat(np.asarray(cloud)[:, :, None], 3, axis=2) + wall
    floor = height * 2 // 3
    planks = (np.arange(wide)[None, :] + (np.arange(height - floor)[:, None] * 0.6)) // max(8, wide // 24) % 2
    light[floor:] = light[floor:] * 0.35 + np.array([110, 74, 44]) + planks[:, :, None] * 14
    room: Picture = np.clip(light, 0, 255).astype(np.uint8)
    unit = max(2, height // 24)
    for column in range(4):
        x, y = wide * (2 * column + 1) // 8 - 3 * unit, 3 * unit
        colour = tuple(int(v) for v in rng.integers(40, 230, 3))
        cv2.rectangle(room, (x, y), (x + 6 * unit, y + 8 * unit), (60, 40, 30), cv2.FILLED)
        cv2.rectangle(
            room,
            (x + unit // 2, y + unit // 2),
            (x + 6 * unit - unit // 2, y + 8 * unit - unit // 2),
            colour,
            cv2.FILLED,
        )
        for _ in range(12):
            centre = (int(x + unit + rng.integers(0, 4 * unit)), int(y + unit + rng.integers(0, 6 * unit)))
            cv2.circle(
                room,
                centre,
                int(rng.integers(unit // 4 + 1, unit)),
                tuple(int(v) for v in rng.integers(0, 255, 3)),
                cv2.FILLED,
                cv2.LINE_AA,
            )
    return room


def _ball(picture: Picture, time: float) -> None:
    height, width = picture.shape[:2]
    radius = height // 16
    x = int(width * (0.5 + 0.4 * np.sin(time * 1.1)))
    y = int(height * 0.78 - abs(np.sin(time * 3.0)) * height * 0.35)
    for ring in range(radius, 0, -1):  # shaded from the upper left
        light = 1 - ring / radius
        colour = (int(170 + 80 * light), int(40 + 120 * light), int(40 + 90 * light))
        offset = int((radius - ring) * 0.4)
        cv2.circle(picture, (x - offset, y - offset), ring, colour, cv2.FILLED, cv2.LINE_AA)


def _robot(picture: Picture, time: float, other: bool) -> None:
    height, width = picture.shape[:2]
    unit = height // 24
    x = int(width * (0.15 + 0.06 * (time % 10))) if not other else int(width * 0.7)
    y = int(height * 0.86)
    arm = int(np.sin(time * 4) * 2 * unit)
    body = (70, 80, 96)
    cv2.rectangle(picture, (x, y - 5 * unit), (x + 3 * unit, y), body, cv2.FILLED)
    cv2.rectangle(
        picture, (x + unit // 2, y - 7 * unit), (x + 5 * unit // 2, y - 5 * unit), (96, 110, 130), cv2.FILLED
    )
    for eye in (1.0, 2.0):
        cv2.circle(
            picture, (int(x + eye * unit), y - 6 * unit), unit // 3, (120, 230, 255), cv2.FILLED, cv2.LINE_AA
        )
    cv2.line(
        picture,
        (x + 3 * unit, y - 4 * unit),
        (x + 5 * unit, y - 4 * unit + arm),
        body,
        unit // 2 + 1,
        cv2.LINE_AA,
    )
    for wheel in (0.5, 2.5):
        cv2.circle(picture, (int(x + wheel * unit), y), unit * 2 // 3, (30, 30, 34), cv2.FILLED, cv2.LINE_AA)
