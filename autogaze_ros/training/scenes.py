"""Clips of drawn scenes, without end: a camera moves through a world in which things move.

A clip is a world (see `textures`), sprites with their own paths, a camera path, light, and the faults of a camera:
blur, noise, rolling exposure. Its own clock may stand still for a while, and it may be cut. All of a batch is made at
once on the device; a seed gives the same clips on the same device and version of PyTorch.
"""

from __future__ import annotations

import math
import random

import torch
import torch.nn.functional as F

from .textures import Dice, grid, surfaces

SIDE = 224
WORLD = 416  # pixels of a world, which spans three views at the usual zoom
SPRITES = 4
EVENTS = 4  # in a clip, at most, that change some of it to something else at once


def make_clips(
    seed: int, n: int, frames: int, device: torch.device, held_out: bool = False, chunk: int = 32
) -> torch.Tensor:
    """Draw clips.

    Args:
        seed: of all random numbers.
        n: clips.
        frames: of each.
        device: to draw on.
        held_out: worlds and motions that training never uses.
        chunk: clips drawn at once, a matter of memory.

    Returns:
        (n, frames, 3, 224, 224) uint8 RGB.
    """
    parts = []
    dice = Dice(seed, device)
    for begin in range(0, n, chunk):
        parts.append(_clips(dice, min(chunk, n - begin), frames, held_out))
    clips = torch.cat(parts)
    return _edit(dice, clips)


def _edit(dice: Dice, clips: torch.Tensor) -> torch.Tensor:
    """Parts of clips, or all of a picture, become another clip at once, for a while or for good.

    That is what cuts, screens, signs, subtitles and doors do, and what a gaze that looks at changes alone would
    never repair once it has missed them. Half of the clips are full of it.
    """
    n, frames = clips.shape[:2]
    number = torch.arange(frames, device=clips.device).view(1, -1, 1, 1, 1)
    x, y = grid(SIDE, clips.device)
    lively = dice.chance(0.5, n, 1, 1)
    result = clips
    for other in range(1, EVENTS + 1):
        begin = dice.integers(1, max(2, frames), n).view(-1, 1, 1, 1, 1)
        length = dice.log_uniform(n, low=1, high=4 * frames).view(-1, 1, 1, 1, 1)
        whole = dice.chance(0.5, n, 1, 1) if other == 1 else torch.zeros_like(lively)
        size = dice.log_uniform(n, 2, 1, 1, low=0.06, high=0.9)
        centre = dice.uniform(n, 2, 1, 1, low=-0.9, high=0.9)
        box = ((x - centre[:, 0]).abs() < size[:, 0]) & ((y - centre[:, 1]).abs() < size[:, 1])
        there = (box | whole) & dice.chance(0.6, n, 1, 1) & (lively | dice.chance(0.15, n, 1, 1))
        # What has come may stand or move on; it may be noisy, as a camera's picture, or not.
        source = clips.roll(other, 0)
        still = dice.chance(0.6, n).view(-1, 1, 1, 1, 1)
        source = torch.where(still, source[:, :1], source)
        on = (number >= begin) & (number < begin + length)
        result = torch.where(on & there[:, None, None], source, result)
    return result


def _clips(dice: Dice, n: int, frames: int, held_out: bool) -> torch.Tensor:
    world = surfaces(dice, n, WORLD, 80, held_out)
    clock = _clock(dice, n, frames)
    x, y = grid(SIDE, dice.device)
    scale, turn, shift_x, shift_y = _camera(dice, n, frames, clock, held_out)
    cosine, sine = (turn.cos() * scale)[..., None, None], (turn.sin() * scale)[..., None, None]
    # Where each pixel looks, in the world's coordinates: (n, frames, side, side).
    wx = x * cosine - y * sine + shift_x[..., None, None]
    wy = x * sine + y * cosine + shift_y[..., None, None]
    video = _sample(world, wx, wy)
    things = surfaces(dice, n, WORLD // 2, 24, held_out).roll(1, 0)
    count = dice.integers(0, SPRITES + 1, n)
    for index in range(SPRITES):
        video = _sprite(dice, video, things, wx, wy, clock, count > index, scale, held_out)
    return _expose(dice, video, clock)


def _clock(dice: Dice, n: int, frames: int) -> torch.Tensor:
    """(n, frames) time in frames, which stops for stretches in some clips and all along in a few."""
    stop = dice.integers(0, frames + 1, n, 2).sort(1).values
    number = torch.arange(frames, device=dice.device)[None]
    still = (number >= stop[:, :1]) & (number < stop[:, 1:]) & dice.chance(0.25, n, 1)
    still |= dice.chance(0.15, n, 1)
    return torch.where(still, 0.0, 1.0).cumsum(1) - 1


def _walk(dice: Dice, n: int, frames: int, smooth: float) -> torch.Tensor:
    """(n, frames) a random path of deviation about 1; `smooth` 0 is a jump each frame, near 1 a slow sway."""
    steps = dice.normal(n, frames + 16)
    value, path = torch.zeros(n, device=dice.device), []
    for index in range(frames + 16):
        value = smooth * value + math.sqrt(1 - smooth**2) * steps[:, index]
        path.append(value)
    return torch.stack(path[16:], 1)


def _camera(
    dice: Dice, n: int, frames: int, clock: torch.Tensor, held_out: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scale, turn and shift of the view over time, each (n, frames)."""
    pixel = 2 / SIDE * 0.45  # one pixel of the view in the world's coordinates, about
    moving = ~dice.chance(0.6, n, 1)

    def some(probability: float) -> torch.Tensor:
        return (dice.chance(probability, n, 1) & moving).float()

    speed = dice.log_uniform(n, 1, low=0.05, high=10) * pixel * some(0.6)
    heading = dice.uniform(n, 1, high=2 * math.pi)
    if held_out:  # round and round
        heading = heading + clock * dice.uniform(n, 1, low=-0.3, high=0.3)
        x, y = (heading.cos() * speed).cumsum(1), (heading.sin() * speed).cumsum(1)
    else:
        x, y = heading.cos() * speed * clock, heading.sin() * speed * clock
    # A hand's sway, and a robot's shake. They go by the clock too: a stopped clock is a still camera.
    going = torch.cat([torch.ones_like(clock[:, :1]), (clock.diff(dim=1) > 0).float()], 1)
    index = (going.cumsum(1) - 1).long()
    for smooth, size, likely in ((0.95, 12.0, 0.4), (0.3, 3.0, 0.25)):
        strength = dice.log_uniform(n, 1, low=0.05, high=size) * pixel * some(likely)
        x = x + _walk(dice, n, frames, smooth).gather(1, index) * strength
        y = y + _walk(dice, n, frames, smooth).gather(1, index) * strength
    zoom = dice.normal(n, 1) * 0.012 * some(0.25)
    scale = dice.log_uniform(n, 1, low=0.3, high=0.62) * (zoom * clock).exp()
    turn = dice.uniform(n, 1, low=-0.3, high=0.3) + clock * dice.normal(n, 1) * 0.02 * some(0.2)
    turn = turn + _walk(dice, n, frames, 0.9).gather(1, index) * 0.01 * some(0.2)
    room = 0.35
    return (
        scale,
        turn,
        x + dice.uniform(n, 1, low=-room, high=room),
        y + dice.uniform(n, 1, low=-room, high=room),
    )


def _sample(picture: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) seen at (n, frames, side, side) places: (n, frames, 3, side, side)."""
    n, frames, side, _ = x.shape
    places = torch.stack([x, y], -1).view(n, frames * side, side, 2)
    seen = F.grid_sample(picture, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    return seen.view(n, 3, frames, side, side).transpose(1, 2)


def _sprite(
    dice: Dice,
    video: torch.Tensor,
    things: torch.Tensor,
    wx: torch.Tensor,
    wy: torch.Tensor,
    clock: torch.Tensor,
    there: torch.Tensor,
    zoom: torch.Tensor,
    held_out: bool,
) -> torch.Tensor:
    """One more thing in each clip: it moves, turns and changes its shape, is lit from a side and casts a shadow."""
    n, frames = clock.shape
    size = dice.log_uniform(n, 1, low=0.03, high=0.28)
    # It may move for a part of the clip only.
    begin, length = (
        dice.uniform(n, 1, low=-0.5, high=0.7) * frames,
        dice.uniform(n, 1, low=0.3, high=1.5) * frames,
    )
    time = (clock - begin).clamp_min(0).minimum(length)
    speed = dice.log_uniform(n, 1, low=0.1, high=8) * (2 / SIDE * 0.45) * (~dice.chance(0.15, n, 1))
    heading = dice.uniform(n, 1, high=2 * math.pi)
    swing = dice.uniform(n, 1, high=0.15) * dice.chance(0.4, n, 1)
    pace = dice.log_uniform(n, 1, low=0.05, high=1.0)
    px = dice.uniform(n, 1, low=-0.6, high=0.6) + heading.cos() * speed * time
    py = dice.uniform(n, 1, low=-0.6, high=0.6) + heading.sin() * speed * time
    px, py = (
        px + swing * (time * pace).sin(),
        py + (swing if held_out else -swing) * (time * pace).cos().abs(),
    )
    angle = dice.uniform(n, 1, high=2 * math.pi) + time * dice.normal(n, 1) * 0.05 * dice.chance(0.5, n, 1)

    def wide(values: torch.Tensor) -> torch.Tensor:
        return values[..., None, None]

    dx, dy = wx - wide(px), wy - wide(py)
    u = (dx * wide(angle.cos()) + dy * wide(angle.sin())) / wide(size)
    v = (dy * wide(angle.cos()) - dx * wide(angle.sin())) / wide(
        size * dice.log_uniform(n, 1, low=0.4, high=1)
    )
    lobes = dice.integers(2, 7, n, 1).float()
    wobble = dice.uniform(n, 1, high=0.35) * (1 + 0.5 * (time * dice.uniform(n, 1, high=0.4)).sin())
    radius = (u**2 + v**2 + 1e-9).sqrt()
    outline = radius / (1 + wide(wobble) * (torch.atan2(v, u) * wide(lobes)).cos())
    outline = torch.where(wide(dice.chance(0.35, n, 1)), torch.maximum(u.abs(), v.abs()), outline)
    soft = wide(size / zoom) * SIDE / 2
    mask = ((1 - outline) * soft + 0.5).clamp(0, 1) * wide(there[:, None])
    shadow = torch.sigmoid((1.15 - outline) * 8) * wide(there[:, None]) * wide(dice.uniform(n, 1, high=0.35))
    surface = _sample(things, u * wide(size) * 1.5, v * wide(size) * 1.5)
    light = (
        1
        + (u - v) * wide(dice.uniform(n, 1, low=-0.3, high=0.3))
        - radius**2 * wide(dice.uniform(n, 1, high=0.3))
    )
    flat = wide(dice.uniform(n, 1, 3)).expand(n, 1, 3, 1, 1)
    surface = torch.lerp(surface, flat, wide(wide(dice.uniform(n, 1))[..., 0, 0][:, None]))
    video = video * (1 - shadow[:, :, None])
    return torch.lerp(video, surface * light[:, :, None].clamp(0.2, 2), mask[:, :, None])


def _expose(dice: Dice, video: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
    """Light that changes, motion blur, contrast, rolling exposure and noise; then whole grey levels."""
    n, frames = clock.shape

    def wide(values: torch.Tensor) -> torch.Tensor:
        return values[..., None, None, None]

    # Motion blur: some clips show each frame with a part of the one before.
    before = torch.cat([video[:, :1], video[:, :-1]], 1)
    video = torch.lerp(video, before, wide(dice.uniform(n, 1, high=0.35) * dice.chance(0.2, n, 1)))
    # Most cameras sharpen what they see.
    seen = video.flatten(0, 1)
    soft = F.avg_pool2d(seen, 3, 1, 1, count_include_pad=False)
    sharper = dice.uniform(n, 1, high=1.2) * dice.chance(0.4, n, 1)
    video = video + (seen - soft).view_as(video) * wide(sharper)
    # Few things in the world are as colourful as random numbers are.
    grey = video.mean(2, keepdim=True)
    video = torch.lerp(grey, video, wide(dice.uniform(n, 1, low=0.05, high=0.8)))
    contrast = dice.uniform(n, 1, low=0.45, high=1.3)
    level = dice.uniform(n, 1, low=-0.12, high=0.12)
    video = (video - 0.5) * wide(contrast) + 0.5 + wide(level)
    # Lamps that dim or flicker, and a spot of light that wanders.
    drift = clock * dice.normal(n, 1) * 0.012 * dice.chance(0.2, n, 1)
    flicker = dice.normal(n, frames) * dice.uniform(n, 1, high=0.03) * dice.chance(0.12, n, 1)
    x, y = grid(SIDE, dice.device)
    path = dice.uniform(n, 2, 1, low=-1, high=1) + clock[:, None] * dice.normal(n, 2, 1) * 0.05
    far = (x - path[:, 0, :, None, None]) ** 2 + (y - path[:, 1, :, None, None]) ** 2
    spot = (-far * 4).exp() * (dice.uniform(n, 1, high=0.5) * dice.chance(0.15, n, 1))[..., None, None]
    row = torch.arange(SIDE, device=dice.device).view(1, 1, SIDE, 1) / SIDE
    phase = dice.uniform(n, 1, high=2 * math.pi) + clock * dice.uniform(n, 1, high=2)
    rolling = (row * 9 + phase[..., None, None]).sin() * (
        dice.uniform(n, 1, high=0.05) * dice.chance(0.1, n, 1)
    )[..., None, None]
    video = video * (1 + wide(drift + flicker) + (spot + rolling)[:, :, None])
    # Noise of the sensor, brightness mostly; none in about a third of the clips.
    grain = dice.normal(n, frames, 1, SIDE, SIDE) + 0.5 * dice.normal(n, frames, 3, SIDE, SIDE)
    strength = dice.log_uniform(n, 1, low=0.2, high=6) / 255 * dice.chance(0.6, n, 1)
    video = video + grain * wide(strength) * (0.6 + 0.4 * video.clamp(0, 1))
    return (video * 255 + 0.5).clamp_(0, 255).to(torch.uint8)


def varied(clips: torch.Tensor, seed: int) -> torch.Tensor:
    """The same clips mirrored, turned, in other colours, backwards or in negative, some of it or all."""
    dice = random.Random(seed)
    if dice.random() < 0.5:
        clips = clips.transpose(3, 4)
    flips = [axis for axis in (1, 3, 4) if dice.random() < 0.5]
    clips = clips.flip(flips)[:, :, dice.sample((0, 1, 2), 3)]
    return (255 - clips if dice.random() < 0.3 else clips).contiguous()
