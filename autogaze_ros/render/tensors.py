"""The overlay for frames that live on a GPU."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..gaze.gaze_frame import GazeFrame
from ..gaze.masks import MaskStyle
from .overlay import colour_of, finest_rectangles


def overlay_tensor(image: Any, gaze: GazeFrame, style: MaskStyle = "native", opacity: float = 0.35) -> Any:
    """Draw a gaze on a frame where it is; one byte a pixel goes to the device, and nothing comes back.

    Args:
        image: (H, W, 3) uint8 RGB torch tensor on any device; not changed.
        gaze: its gaze.
        style: which cells are drawn.
        opacity: 0..1, share of the tint in a gazed cell.

    Returns:
        A tensor like ``image``: as :func:`draw_overlay` without caption, to one grey level.

    Raises:
        ValueError: the image has another size than the gaze, or another type.
    """
    import torch

    if image.dtype != torch.uint8 or tuple(image.shape) != (gaze.height, gaze.width, 3):
        raise ValueError(
            f"the overlay needs a ({gaze.height}, {gaze.width}, 3) uint8 tensor, got {tuple(image.shape)} {image.dtype}"
        )
    count = len(gaze.layout.grids)
    # 0: no cell; 1 + s: inside a cell of scale s; 1 + count + s: on its outline.
    index = np.zeros((gaze.height, gaze.width), np.uint8)
    boxes, scales = gaze.styled_boxes(style)
    for x0, y0, x1, y1, scale in finest_rectangles(boxes, scales, gaze.width, gaze.height):
        cv2.rectangle(index, (x0, y0), (x1 - 1, y1 - 1), 1 + scale, cv2.FILLED)
    thickness = max(1, round(min(gaze.height, gaze.width) / 540))
    for (x0, y0, x1, y1), scale in zip(boxes.tolist(), scales.tolist(), strict=True):
        cv2.rectangle(index, (x0, y0), (x1 - 1, y1 - 1), 1 + count + scale, thickness)
    shares = torch.tensor([0.0] + [opacity] * count + [1.0] * count)
    colours = torch.tensor([(0, 0, 0)] + [colour_of(scale, "rgb") for scale in range(count)] * 2).float()
    where = torch.from_numpy(index).to(image.device, non_blocking=True).long()
    share = shares.to(image.device)[where][..., None]
    added = (colours * shares[:, None]).to(image.device)[where]
    return (image * (1 - share) + added).round().to(torch.uint8)
