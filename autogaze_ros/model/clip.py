"""Whole clips, offline: the result in the reference's terms, other encoders' grids, and the teacher-forced pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .config import ModelConfig
from .errors import SettingError
from .generation import Gaze


@dataclass(frozen=True, eq=False)
class Clip:
    """What `AutoGaze.generate` returns; fields can also be read as items, `clip["gazing_pos"]`.

    B clips of T frames; N slots in all, frame after frame, padded to the longest of the batch in each frame.

    Attributes:
        gazing_pos: int64 (B, N), id + frame * num_vision_tokens_each_frame; padded slots hold the padding id
            num_vision_tokens_each_frame instead of an id.
        if_padded_gazing: bool (B, N).
        num_gazing_each_frame: int64 (T,), slots of each frame, padded ones included.
        gazing_mask: for each scale float32 (B, T, cells), 1 where the cell was chosen.
        scales: pixels of each scale.
        num_vision_tokens_each_frame: ids a frame offers.
        confidence: float32 (B, N), see `Gaze`; 0 where padded.
        predicted_loss: float32 (B, N); NaN where a slot only fills up the batch or comes from several tiles.
    """

    gazing_pos: torch.Tensor
    if_padded_gazing: torch.Tensor
    num_gazing_each_frame: torch.Tensor
    gazing_mask: list[torch.Tensor]
    scales: tuple[int, ...]
    num_vision_tokens_each_frame: int
    confidence: torch.Tensor
    predicted_loss: torch.Tensor

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)


def assemble(gazes: Sequence[Sequence[Gaze]], scales: tuple[int, ...], cells: Sequence[int]) -> Clip:
    """Join gazes[clip][frame] into one `Clip`; `cells` are the cells of each scale."""
    total = sum(cells)
    frames = len(gazes[0])
    slots = [max(len(clip[t].ids) for clip in gazes) for t in range(frames)]
    shape = len(gazes), sum(slots)
    position = np.repeat(np.arange(frames) * total + total, slots)[None].repeat(shape[0], axis=0)
    padded = np.ones(shape, dtype=bool)
    confidence = np.zeros(shape, dtype=np.float32)
    loss = np.full(shape, np.nan, dtype=np.float32)
    mask = np.zeros((len(gazes), frames, total), dtype=np.float32)
    for b, clip in enumerate(gazes):
        begin = 0
        for t, gaze in enumerate(clip):
            here = slice(begin, begin + len(gaze.ids))
            position[b, here] = gaze.ids + t * total
            padded[b, here] = gaze.padded
            confidence[b, here] = gaze.confidence
            loss[b, here] = gaze.predicted_loss
            mask[b, t, gaze.kept] = 1.0
            begin += slots[t]
    return Clip(
        gazing_pos=torch.from_numpy(position),
        if_padded_gazing=torch.from_numpy(padded),
        num_gazing_each_frame=torch.tensor(slots, dtype=torch.int64),
        gazing_mask=list(torch.from_numpy(mask).split(list(cells), dim=-1)),
        scales=scales,
        num_vision_tokens_each_frame=total,
        confidence=torch.from_numpy(confidence),
        predicted_loss=torch.from_numpy(loss),
    )


@dataclass(frozen=True)
class TargetGrid:
    """Another encoder's scales and patch size, covered with tiles that the network looks at one by one.

    The network sees `grid` x `grid` cells (14 x 14) at its largest scale, so a tile is that many of the encoder's
    patches; the picture is padded to the right and below to whole tiles.
    """

    scales: tuple[int, ...]
    patch: int
    tile: int
    across: int

    @classmethod
    def of(cls, config: ModelConfig, scales: Sequence[int], patch: int) -> TargetGrid:
        """Check an encoder's sizes in pixels; raises a `SettingError` that says what does not fit."""
        if len(scales) != len(config.scales):
            raise SettingError(
                f"target_scales must be {len(config.scales)} sizes as in {config.scales}, are {scales}"
            )
        if patch < 1 or any(scale < patch or scale % patch for scale in scales):
            raise SettingError(f"target_scales {list(scales)} must be multiples of target_patch_size {patch}")
        tile = config.vision_grid * patch
        across = -(-scales[-1] // tile)
        for scale, grid in zip(scales, config.grids, strict=True):
            if scale // patch > across * grid:
                raise SettingError(
                    f"target scale {scale} needs {scale // patch} cells a side, but {across} tiles of {grid} give "
                    f"{across * grid}"
                )
        return cls(tuple(scales), patch, tile, across)

    def cut(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, T, 3, side, side) -> (B * tiles, T, 3, tile, tile), tiles row by row."""
        if pixels.shape[-2:] != (self.scales[-1], self.scales[-1]):
            raise SettingError(
                f"pixel_values must be {self.scales[-1]} x {self.scales[-1]} for these target_scales, "
                f"are {tuple(pixels.shape[-2:])}"
            )
        batch, frames = pixels.shape[:2]
        room = self.across * self.tile - self.scales[-1]
        pixels = F.pad(pixels, (0, room, 0, room))
        pixels = pixels.view(batch, frames, 3, self.across, self.tile, self.across, self.tile)
        return pixels.permute(0, 3, 5, 1, 2, 4, 6).reshape(-1, frames, 3, self.tile, self.tile)

    def join(self, clip: Clip, config: ModelConfig) -> Clip:
        """Put the tiles' masks side by side and list each frame's chosen ids in ascending order."""
        across = self.across
        batch = clip.gazing_pos.shape[0] // across**2
        scores: list[torch.Tensor] = []
        masks: list[torch.Tensor] = []
        for value, kind in ((clip.gazing_mask, masks), (self._confidence(clip, config), scores)):
            for scale, grid, cells in zip(self.scales, config.grids, value, strict=True):
                side = scale // self.patch
                plane = cells.view(batch, across, across, -1, grid, grid).permute(0, 3, 1, 4, 2, 5)
                plane = plane.reshape(batch, -1, across * grid, across * grid)[..., :side, :side]
                kind.append(plane.reshape(batch, -1, side * side))
        mask, confidence = torch.cat(masks, -1).numpy() > 0, torch.cat(scores, -1).numpy()
        gazes = [
            [_ascending(mask[b, t], confidence[b, t], t) for t in range(mask.shape[1])] for b in range(batch)
        ]
        return assemble(gazes, self.scales, [part.shape[-1] for part in masks])

    @staticmethod
    def _confidence(clip: Clip, config: ModelConfig) -> list[torch.Tensor]:
        """Each chosen cell's confidence, laid out as the masks are."""
        kept = ~clip.if_padded_gazing
        batch, frames = clip.gazing_mask[0].shape[:2]
        flat = torch.zeros(batch, frames * config.num_ids)
        row = torch.arange(batch)[:, None].expand_as(kept)[kept]
        flat[row, clip.gazing_pos[kept]] = clip.confidence[kept]
        return list(flat.view(batch, frames, -1).split([grid**2 for grid in config.grids], dim=-1))


def _ascending(mask: np.ndarray, confidence: np.ndarray, frame: int) -> Gaze:
    ids = np.flatnonzero(mask).astype(np.int64)
    nothing = np.full(len(ids), np.nan, dtype=np.float32)
    return Gaze(ids, np.zeros(len(ids), dtype=bool), confidence[ids], nothing, frame, blocks=0)
