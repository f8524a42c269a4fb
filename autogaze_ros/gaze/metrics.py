"""Measures of a reconstruction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: The built-in model's unit of loss is a straight line in dB, not below 0 (its model card says why).
BUILTIN_LOSS_AT_0_DB, BUILTIN_LOSS_PER_DB = 1.6, -0.024


def psnr(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB between two uint8 images of one shape; inf where identical.

    Raises:
        ValueError: shapes differ or the images are empty.
    """
    if image.shape != reference.shape or image.size == 0:
        raise ValueError(f"PSNR needs two images of one shape, got {image.shape} and {reference.shape}")
    import cv2

    return psnr_from_error(float(cv2.norm(image, reference, cv2.NORM_L2SQR)), image.size)


def psnr_from_error(error: float, count: int) -> float:
    """The PSNR in dB of a sum of squared differences over so many 8-bit values; inf where it is 0."""
    return math.inf if error == 0 else 10 * math.log10(255**2 * count / error)


def loss_from_psnr(decibels: float) -> float:
    """The loss that means the same as a PSNR: root mean square error over full scale, ``10 ** (-dB / 20)``."""
    return 10 ** (-decibels / 20)


def psnr_from_loss(loss: float) -> float:
    """The PSNR in dB that means the same as a loss in 0..1; inf at 0.

    Raises:
        ValueError: the loss is negative or NaN.
    """
    if not loss >= 0:
        raise ValueError(f"a loss is 0 or more, got {loss}")
    return math.inf if loss == 0 else -20 * math.log10(loss)
