"""Rotary positions that stay exact for ever.

A key at position p is turned by the angle p * f in each pair of channels, f being one of head_dim / 2 frequencies
(the `llama3` scaling of RoPE). Attention sees only differences of positions, but a stream's positions grow without
bound: at 200 tokens a frame and 30 Hz they pass 131,072 in 22 seconds, and the float32 product p * f soon has no
digits left behind the point. So an angle is kept as a fraction of a full turn in 64-bit fixed point, where
the product wraps around exactly as angles do: two positions differ by the same turn at any age of the stream.

The first positions use the float32 product all the same, because the published model was trained and is run with
it: within the length of a training clip, rounding included, the angles are the reference's.
"""

from __future__ import annotations

import math

import torch

from .config import RopeConfig

FLOAT32_POSITIONS = (
    8192  # positions below this use the reference's float32 angles (a clip of 16 frames has <= 7376)
)


def frequencies(config: RopeConfig, head_dim: int) -> torch.Tensor:
    """The llama3-scaled frequencies in radians a position, float32 (head_dim / 2,).

    Wavelengths above `original / low` are stretched by `factor`, those below `original / high` are kept, and
    between the two the frequency is interpolated.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    plain = 1.0 / (config.theta**exponents)
    wavelength = 2 * math.pi / plain
    original, low, high = (
        config.original_max_position_embeddings,
        config.low_freq_factor,
        config.high_freq_factor,
    )
    smooth = (original / wavelength - low) / (high - low)
    blended = (1 - smooth) * plain / config.factor + smooth * plain
    scaled = torch.where(wavelength > original / low, plain / config.factor, blended)
    return torch.where(wavelength < original / high, plain, scaled)


def turns_per_position(frequency: torch.Tensor) -> torch.Tensor:
    """Frequencies as 64-bit fixed-point turns a position: int64, 2**64 being one full turn."""
    steps = [round(value / (2 * math.pi) * 2.0**64) for value in frequency.double().tolist()]
    return torch.tensor([step - 2**64 if step >= 2**63 else step for step in steps], dtype=torch.int64)


class Rotary:
    """Turns of positions, on one device."""

    def __init__(self, config: RopeConfig, head_dim: int, device: torch.device) -> None:
        self.frequency = frequencies(config, head_dim).to(device)
        self.turns = turns_per_position(self.frequency.cpu()).to(device)

    def __call__(self, positions: torch.Tensor) -> torch.Tensor:
        """int64 (n,) >= 0 -> cosine + i sine, complex64 (n, head_dim / 2)."""
        # The int64 product overflows on purpose: dropping whole turns is what keeps the angle exact.
        turn = (positions[:, None] * self.turns).double() * 2.0**-64
        exact = turn * (2 * math.pi)
        early = positions[:, None].float() * self.frequency
        angle = torch.where(positions[:, None] < FLOAT32_POSITIONS, early.double(), exact)
        return torch.complex(angle.cos().float(), angle.sin().float())


def rotate(heads: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn (n, heads, head_dim), whose pairs of channels are neighbours, by (n, head_dim / 2)."""
    numbers = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(numbers * turns[:, None]).flatten(-2).to(heads.dtype)


def neighbours_first(weight: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Reorder the outputs (out, in) of a query or key projection so that pairs of channels are neighbours.

    The published weights pair channel i with i + head_dim / 2. Queries and keys reordered alike have the same
    products, and a pair of neighbours is one complex number.
    """
    order = torch.arange(head_dim).view(2, -1).t().flatten()
    return weight.unflatten(0, (-1, head_dim))[:, order].flatten(0, 1)
