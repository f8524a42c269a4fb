"""Drawn surfaces: what the world of the training clips is made of.

Every function makes a batch at once, on the device of its generator. Colours are floats around 0..1 that may
overshoot; they are cut off where a picture is finished.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


class Dice:
    """Random numbers of one device, from one seed."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """float32 of this shape, evenly in [low, high)."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, *shape: int, low: float, high: float) -> torch.Tensor:
        """float32, evenly in the logarithm."""
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int) -> torch.Tensor:
        """float32, mean 0, deviation 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> torch.Tensor:
        """bool, true with this probability."""
        return self.uniform(*shape) < probability

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """int64 in low .. high - 1."""
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def signs(self, *shape: int) -> torch.Tensor:
        """-1 or 1."""
        return self.integers(0, 2, *shape).float() * 2 - 1


def grid(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of each pixel's centre in -1..1, each (side, side)."""
    axis = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    return axis[None, :].expand(side, side), axis[:, None].expand(side, side)


def fractal(dice: Dice, n: int, side: int) -> torch.Tensor:
    """Clouds whose spectrum falls as 1 / f**a, as that of photographs does: (n, 3, side, side), mean 0.

    Exponent, direction and colours differ from one to the next; most of the variation is brightness.
    """
    fy = torch.fft.fftfreq(side, device=dice.device)[None, :, None] * side
    fx = torch.fft.rfftfreq(side, device=dice.device)[None, None, :] * side
    angle, stretch = dice.uniform(n, 1, 1, high=math.pi), dice.log_uniform(n, 1, 1, low=1, high=4)
    u = (fx * angle.cos() + fy * angle.sin()) * stretch
    v = fy * angle.cos() - fx * angle.sin()
    size = (u**2 + v**2 + 1).sqrt()
    exponent = dice.uniform(n, 1, 1, low=0.7, high=2.2)
    spectrum = torch.fft.rfft2(dice.normal(n, 3, side, side)) * (size**-exponent)[:, None]
    cloud = torch.fft.irfft2(spectrum, s=(side, side))
    cloud = cloud / cloud.std((2, 3), keepdim=True).clamp_min(1e-6)
    colour = dice.uniform(n, 1, 1, 1, high=0.6)
    return cloud[:, :1] * (1 - colour) + cloud * colour


def gratings(dice: Dice, n: int, side: int) -> torch.Tensor:
    """Stripes, checks and tiles, soft or hard: (n, 1, side, side) in -1..1."""
    x, y = grid(side, dice.device)
    angle = dice.uniform(n, 1, 1, high=math.pi)
    frequency = dice.log_uniform(n, 1, 1, low=6, high=120)
    bend = dice.uniform(n, 1, 1, high=0.4) * dice.chance(0.4, n, 1, 1)
    u = x * angle.cos() + y * angle.sin() + bend * (3 * y).sin()
    v = y * angle.cos() - x * angle.sin()
    both = (u * frequency).sin() * torch.where(dice.chance(0.5, n, 1, 1), (v * frequency).sin(), 1.0)
    hard = dice.log_uniform(n, 1, 1, low=1, high=30)
    return (both * hard).tanh()[:, None]


def text(dice: Dice, n: int, side: int, size: int) -> torch.Tensor:
    """Lines of made-up letters: (n, 1, side, side), 1 where there is ink.

    A letter is a random pattern of 3 x 5 strokes in a field of 4 x 7, in words of random length; the field is
    `size` pixels high.
    """
    across, down = side * 7 // (size * 6), side // size
    strokes = torch.zeros(n, down, 7, across, 4, device=dice.device)
    half = dice.chance(0.55, n, down, 5, across, 3).float()
    strokes[:, :, 1:6, :, :3] = half
    gap = dice.chance(0.18, n, down, 1, across, 1) | dice.chance(0.2, n, down, 1, 1, 1)
    strokes = strokes * ~gap
    page = strokes.reshape(n, 1, down * 7, across * 4)
    return F.interpolate(page, (side, side), mode="bilinear", align_corners=False)


def leaves(dice: Dice, n: int, side: int, count: int, textures: torch.Tensor) -> torch.Tensor:
    """Things that hide one another, many small and few large: the statistics of natural scenes.

    Args:
        dice: random numbers.
        n: pictures.
        side: of each.
        count: things in each.
        textures: (n, 3, side, side), surfaces that the things are cut from.

    Returns:
        (n, 3, side, side).
    """
    x, y = grid(side, dice.device)
    picture = dice.uniform(n, 3, 1, 1) + textures * dice.uniform(n, 1, 1, 1, high=0.25)
    palette = dice.uniform(n, 6, 3, low=-0.1, high=1.1)
    for index in range(count):
        # From large to small, so that the large do not hide all that came before.
        largest = 1.2 * (1 - index / count) ** 2 + 0.06
        size = dice.log_uniform(n, 1, 1, low=0.02, high=largest)
        aspect = dice.log_uniform(n, 1, 1, low=0.2, high=1.0)
        angle = dice.uniform(n, 1, 1, high=math.pi) * dice.chance(0.6, n, 1, 1)
        dx, dy = x - dice.uniform(n, 1, 1, low=-1.1, high=1.1), y - dice.uniform(n, 1, 1, low=-1.1, high=1.1)
        u = (dx * angle.cos() + dy * angle.sin()) / size
        v = (dy * angle.cos() - dx * angle.sin()) / (size * aspect)
        round_ = dice.chance(0.5, n, 1, 1)
        distance = torch.where(round_, (u**2 + v**2).sqrt(), torch.maximum(u.abs(), v.abs()))
        mask = ((1 - distance) * size * side / 2 + 0.5).clamp(0, 1)[:, None]
        pick = dice.integers(0, 6, n)
        colour = palette[torch.arange(n, device=dice.device), pick] + 0.08 * dice.normal(n, 3)
        shade = (u + v)[:, None].clamp(-2, 2) * dice.uniform(n, 1, 1, 1, low=-0.12, high=0.12)
        shift = (index * 7 * side // 16 % side, index * 5 * side // 16 % side)
        rough = textures.roll(shift, (2, 3)) * dice.log_uniform(n, 1, 1, 1, low=0.01, high=0.35)
        picture = torch.lerp(picture, colour[:, :, None, None] + shade + rough, mask)
    return picture


def cells(dice: Dice, n: int, side: int, count: int = 40) -> torch.Tensor:
    """Stained glass: each pixel has the colour of the nearest of some points. For held-out scenes only."""
    x, y = grid(side, dice.device)
    best = torch.full((n, side, side), 1e9, device=dice.device)
    picture = torch.zeros(n, 3, side, side, device=dice.device)
    for _ in range(count):
        px, py = dice.uniform(n, 1, 1, low=-1, high=1), dice.uniform(n, 1, 1, low=-1, high=1)
        distance = (x - px).abs() ** 1.5 + (y - py).abs() ** 1.5
        nearer = distance < best
        picture = torch.where(nearer[:, None], dice.uniform(n, 3, 1, 1), picture)
        best = torch.where(nearer, distance, best)
    return picture + best[:, None].clamp(0, 1) * 0.4


def surfaces(dice: Dice, n: int, side: int, things: int, held_out: bool = False) -> torch.Tensor:
    """Worlds to look at, with so many things in them: (n, 3, side, side) float32, about 0..1."""
    cloud = fractal(dice, n, side)
    stripes = gratings(dice, n, side)
    rough = cloud * 0.7 + stripes * dice.uniform(n, 1, 1, 1) * dice.chance(0.4, n, 1, 1, 1)
    if held_out:
        world = cells(dice, n, side) * 0.7 + 0.3 * (cloud * 0.25 + 0.5)
    else:
        world = leaves(dice, n, side, things, rough)
        plain = dice.uniform(n, 3, 1, 1) + cloud * dice.log_uniform(n, 1, 1, 1, low=0.03, high=0.3)
        world = torch.where(dice.chance(0.25, n, 1, 1, 1), plain, world)
        busy = stripes * dice.uniform(n, 3, 1, 1, low=-0.3, high=0.3) + dice.uniform(n, 3, 1, 1)
        world = torch.where(dice.chance(0.08, n, 1, 1, 1), busy + cloud * 0.05, world)
    # Boards with text on them, somewhere; half of them in black and white.
    x, y = grid(side, dice.device)
    for size in (max(7, side // 52), side // 26):
        wide = dice.uniform(n, 2, 1, 1, low=0.1, high=0.8)
        cx, cy = dice.uniform(n, 1, 1, low=-0.7, high=0.7), dice.uniform(n, 1, 1, low=-0.7, high=0.7)
        board = ((x - cx).abs() < wide[:, 0]) & ((y - cy).abs() < wide[:, 1]) & dice.chance(0.3, n, 1, 1)
        paper, ink = dice.uniform(n, 3, 1, 1), dice.uniform(n, 3, 1, 1)
        plain = dice.chance(0.5, n, 1, 1, 1)
        paper = torch.where(plain, 0.8 + 0.2 * paper, paper)
        ink = torch.where(plain, 0.3 * ink, ink)
        page = torch.lerp(paper, ink, text(dice, n, side, size))
        world = torch.where(board[:, None], page, world)
    # Light that falls off to one side, and a lens that is not always in focus.
    angle = dice.uniform(n, 1, 1, high=2 * math.pi)
    light = 1 + (x * angle.cos() + y * angle.sin()) * dice.uniform(n, 1, 1, high=0.4)
    world = world * light[:, None]
    soft = F.avg_pool2d(
        F.avg_pool2d(world, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False
    )
    return torch.lerp(world, soft, dice.uniform(n, 1, 1, 1))
