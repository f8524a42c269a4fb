"""Pictures for the report, from the input that the run was made of."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...gaze.frame import Frame
from ...gaze.masks import cover
from ...render import SCALE_COLOURS
from ...render.overlay import outline
from ..run_tables import Column, Fixations, RunTables
from .dwell import Dwell

Picture = NDArray[np.uint8]

#: Pixels that a picture in the page is wide at most.
WIDEST = 560
#: Frames that the mean image is made of.
MEAN_OF = 48
#: (256, 3) RGB, light to dark.
_HEAT = cv2.applyColorMap(np.linspace(244, 25, 256).astype(np.uint8)[None], cv2.COLORMAP_INFERNO)[0, :, ::-1]


@dataclass(frozen=True)
class InputPictures:
    """What was read again of a topic's input.

    Args:
        overlays: RGB pictures by index of the frame.
        mean: (H, W, 3) RGB mean of some frames, made smaller; None where there is none.
        missing: why pictures are missing, for people; empty where none is.
    """

    overlays: dict[int, Picture]
    mean: Picture | None
    missing: str


def read_pictures(
    run: RunTables,
    topic: str,
    frames: dict[str, Column],
    fixations: Fixations,
    chosen: Iterable[int],
    size: tuple[int, int],
) -> InputPictures:
    """Go through the input once for the chosen frames, with their gaze drawn over them, and for the mean image.

    Args:
        run: names the input.
        topic: of the images.
        frames: of the topic.
        fixations: of the topic.
        chosen: rows of ``frames`` to show.
        size: width and height of the frames that go into the mean image.
    """
    rows = list(chosen)
    fitting = np.flatnonzero((frames["width"] == size[0]) & (frames["height"] == size[1]))
    spaced = fitting[np.linspace(0, len(fitting) - 1, min(MEAN_OF, len(fitting))).astype(np.int64)]
    in_mean = set(frames["index"][spaced].tolist())
    by_index = {int(frames["index"][row]): row for row in [*spaced.tolist(), *rows]}
    wanted = {int(frames["index"][row]) for row in rows}
    overlays: dict[int, Picture] = {}
    total: NDArray[np.uint32] | None = None
    count = 0
    try:
        for index, stamp, frame in _frames(run, topic, set(by_index)):
            row = by_index[index]
            if stamp != frames["stamp"][row] or (frame.width, frame.height) != (
                frames["width"][row],
                frames["height"][row],
            ):
                return InputPictures(
                    {}, None, "the input is not the one that was replayed: its images differ"
                )
            small = _fitted(np.ascontiguousarray(frame.rgb()))
            if index in in_mean:
                total = small.astype(np.uint32) if total is None else total + small
                count += 1
            if index in wanted:
                where = fixations.of(index)
                overlays[index] = overlay(
                    small, fixations.boxes[where], fixations.scale[where], frame.width, frame.height
                )
    except (OSError, ValueError) as error:
        return InputPictures({}, None, f"the input can't be read any more: {error}")
    mean = None if total is None else ((total + count // 2) // count).astype(np.uint8)
    missing = "" if len(overlays) == len(wanted) else "the input no longer holds all of these images"
    return InputPictures(overlays, mean, missing)


def read_frame(run: RunTables, topic: str, index: int, stamp: int) -> Picture | None:
    """(H, W, 3) RGB of one image of the input; None where it is gone or another."""
    try:
        for _, found, frame in _frames(run, topic, {index}):
            return np.ascontiguousarray(frame.rgb()) if found == stamp else None
    except (OSError, ValueError):
        return None
    return None


def _frames(run: RunTables, topic: str, wanted: set[int]) -> Iterator[tuple[int, int, Frame]]:
    """The wanted frames of a topic with index and stamp; not a byte is read past the last of them.

    Raises:
        OSError, ValueError: the input is gone or can't be read.
    """
    from ..reader import open_input

    if run.input is None:
        raise FileNotFoundError("the run does not say where it was")
    left = set(wanted)
    with open_input(run.input, float(run.plan.get("rate", 30.0))) as source:
        for item in source.recorded([topic]) if topic in source.topics and left else ():
            if item.index in left:
                loaded = item.load()
                left.discard(item.index)
                if isinstance(loaded.frame, Frame):
                    yield item.index, loaded.frame.stamp, loaded.frame
                if not left:
                    return


def overlay(
    picture: Picture, boxes: NDArray[np.int32], scales: Column, width: int, height: int, opacity: float = 0.35
) -> Picture:
    """A picture with cells drawn over it as :func:`autogaze_ros.render.draw_overlay` does, but sharp when small.

    Args:
        picture: (h, w, 3) RGB; not changed.
        boxes: (N, 4) in pixels of the source image.
        scales: (N,) scale index of each.
        width: of the source image.
        height: of the source image.
        opacity: 0..1, share of the tint.
    """
    order = np.argsort(scales, kind="stable")
    mine = scaled(boxes[order], (width, height), (picture.shape[1], picture.shape[0]))
    coverage = cover(mine, picture.shape[1], picture.shape[0])
    finest = np.zeros(coverage.counts.shape, np.uint8)
    for (x0, y0, x1, y1), scale in zip(coverage.spans.tolist(), scales[order].tolist(), strict=True):
        finest[y0:y1, x0:x1] = 1 + scale % len(SCALE_COLOURS)
    kinds = coverage.to_pixels(finest)
    tint = np.array([(0, 0, 0), *SCALE_COLOURS], np.float32)[kinds]
    share = np.where(kinds > 0, opacity, 0.0)[:, :, None].astype(np.float32)
    drawn = np.rint(picture * (1 - share) + tint * share).astype(np.uint8)
    outline(drawn, mine, scales[order], "rgb")
    return drawn


def scaled(boxes: NDArray[np.int32], source: tuple[int, int], target: tuple[int, int]) -> NDArray[np.int32]:
    """Boxes in pixels of an image of another size (width, height), rounded outwards."""
    factors = np.array([*target, *target], np.int64)
    sides = np.array([*source, *source], np.int64)
    wide = boxes.astype(np.int64) * factors
    outwards = np.concatenate([wide[:, :2] // sides[:2], -(-wide[:, 2:] // sides[2:])], axis=1)
    result: NDArray[np.int32] = outwards.astype(np.int32)
    return result


def heat_picture(values: NDArray[np.float64], below: Picture | None, highest: float) -> Picture:
    """A map as colours over a light grey picture: clear where 0, from yellow over red to nearly black.

    The colours differ in lightness all the way, so they can be told apart without seeing hues, and in print.

    Args:
        values: (H, W), 0 and more.
        below: RGB, of any size; a plain grey where None.
        highest: the value that gets the last colour; larger ones get it too.
    """
    height, width = values.shape
    if width > WIDEST:
        width, height = WIDEST, max(1, round(height * WIDEST / width))
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    if below is None:
        below = np.full((height, width, 3), 255, np.uint8)
    below = cv2.resize(below, (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(below, cv2.COLOR_RGB2GRAY)[:, :, None] * 0.55 + 110  # so light that colours stand out
    unit = np.clip(values / highest, 0, 1) if highest > 0 else np.zeros_like(values)
    colours = _HEAT[np.rint(unit * 255).astype(np.int64)]
    # Little heat lets the place be seen; much hides it, so that the colour can be read off the scale.
    share = (0.85 * np.sqrt(unit))[:, :, None]
    drawn: Picture = np.rint(grey * (1 - share) + colours * share).astype(np.uint8)
    return drawn


def heat_maps(dwell: Dwell, mean: Picture | None) -> dict[str, tuple[Picture, float]]:
    """The pictures of a dwell, "density" and "seen", each with the value of its last colour.

    The density's last colour is its 99.5th percentile, so that one spot does not pale the rest.
    """
    density = without_seams(dwell.density)
    top = float(np.percentile(density, 99.5)) or float(density.max())
    most = float(dwell.seen.max())
    return {
        "density": (heat_picture(density, mean, top), top),
        "seen": (heat_picture(dwell.seen, mean, most), most),
    }


def without_seams(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """The density but for the lines, a pixel wide, on which neighbouring cells meet and that belong to both."""
    smooth: NDArray[np.float64] = cv2.medianBlur(density.astype(np.float32), 5).astype(np.float64)
    return smooth if smooth.any() else density


def colour_scale() -> Picture:
    """(1, 256, 3) RGB: the colours of :func:`heat_picture` from 0 on, over a light grey."""
    return heat_picture(np.arange(256, dtype=np.float64)[None], None, 255.0)


def data_url(picture: Picture, quality: int = 82) -> str:
    """A picture to put into the page, as JPEG; the scale of colours, being one line, as PNG."""
    kind = "png" if picture.shape[0] == 1 else "jpeg"
    options = [] if kind == "png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    encoded = cv2.imencode(f".{kind}", np.ascontiguousarray(picture[:, :, ::-1]), options)[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _fitted(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if width <= WIDEST:
        return picture
    size = (WIDEST, max(1, round(height * WIDEST / width)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
