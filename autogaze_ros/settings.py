"""The one table of settings: what the node declares as ROS parameters and what the tools read from YAML.

Each field of :class:`Settings` carries its range, its choices, its description and whether it can change
while the node is active. The README's table is printed from it (``autogaze parameters``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import AutogazeError
from .gaze.masks import MASK_STYLES, MaskStyle
from .gaze.sources.base import Limits
from .gaze.tiling import RESOLUTIONS, Resolution
from .gaze.tokens import DEFAULT_LAYOUT, TokenLayout

SOURCES = ("greedy", "patch_diff", "autogaze")
VIEWS = ("overlay", "scale_rows", "mask_only", "full_blend", "interframe", "side_by_side")
FILLS = ("source", "token")
DTYPES = ("float32", "bfloat16", "float16")
HISTORIES = ("slide", "restart")


class SettingsError(AutogazeError, ValueError):
    """A setting that is unknown, of the wrong type or out of range; the message names it and what it may be."""


@dataclass(frozen=True)
class Spec:
    """What a setting may be.

    ``live`` settings apply to the next frame; the others when the node is configured.
    """

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = True

    def range_text(self) -> str:
        """The allowed values for people: a range, the choices, or nothing."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is None:
            return ""
        return f"{self.low:g} to {self.high:g}"


def _setting(default: Any, description: str, **limits: Any) -> Any:
    return field(default=default, metadata={"spec": Spec(description, **limits)})


@dataclass(frozen=True)
class Settings:
    """All settings of one camera's pipeline and node.

    Raises:
        SettingsError: a value out of its range or of another type.
    """

    source: str = _setting("greedy", "What chooses where to look.", choices=SOURCES, live=False)
    model: str = _setting(
        "",
        "Model folder for the source autogaze (config.json, preprocessor_config.json, model.safetensors), or builtin.",
        live=False,
    )
    fallback: bool = _setting(
        True, "Go on with greedy where the model can't be loaded; otherwise configuring fails.", live=False
    )
    device: str = _setting(
        "auto",
        "autogaze: where the model runs: auto (a GPU where there is one), cpu, cuda or cuda:N.",
        live=False,
    )
    dtype: str = _setting(
        "float32",
        "autogaze: arithmetic; only float32 gives exactly the reference's gaze.",
        choices=DTYPES,
        live=False,
    )
    window: int = _setting(
        16, "autogaze: frames of history; the released model was trained on 16.", low=1, high=1024, live=False
    )
    history: str = _setting(
        "slide",
        "autogaze: when the window is full, forget the oldest frame, or everything.",
        choices=HISTORIES,
        live=False,
    )
    loss_threshold: float = _setting(
        0.7,
        "autogaze: enough tokens once the model predicts a loss of at most this, in its own unit.",
        low=-100,
        high=100,
    )
    budget: int = _setting(20, "Most tokens a frame.", low=1, high=265)
    keyframe_budget: int = _setting(
        198,
        "Most tokens of a keyframe (the first frame, and after each reset); tiles share it, with at least budget each.",
        low=1,
        high=265,
    )
    target_psnr: float = _setting(
        40.0,
        "greedy: enough tokens once the token reconstruction has this PSNR in dB; 0 spends the whole budget.",
        low=0,
        high=100,
    )
    change_threshold: float = _setting(
        8.0,
        "patch_diff: mean absolute change of a cell that draws the gaze, in grey levels.",
        low=0,
        high=255,
    )
    hysteresis: float = _setting(
        0.5, "patch_diff: a cell gazed at before needs only this share of the threshold.", low=0, high=1
    )
    keyframe_interval: int = _setting(
        0, "Start afresh every so many frames; 0 never does.", low=0, high=1_000_000
    )
    cut_threshold: float = _setting(
        20.0,
        "Start afresh where the picture changes by this many grey levels in the mean (a cut); 0 never does.",
        low=0,
        high=255,
    )
    gap_threshold: float = _setting(
        5.0,
        "Start afresh where no image came for this many seconds of the images' own time; 0 never does.",
        low=0,
        high=86_400,
    )
    resolution: Resolution = _setting(  # noqa: RUF009 (a field)
        "resize",
        "Look at the frame as a whole, at its pixels in tiles of working_size after a small enlargement, or exactly.",
        choices=RESOLUTIONS,
        live=False,
    )
    tile_overlap: int = _setting(
        0,
        "Pixels that neighbouring tiles share, below half a tile; cells that coincide (16s) are published once.",
        low=0,
        high=447,
        live=False,
    )
    total_budget: int = _setting(
        0, "Most tokens of a tiled frame, shared out by need; 0: each tile its budget.", low=0, high=1_000_000
    )
    quality: float = _setting(
        -1.0,
        "One knob, 0 to 1, in place of budget, target_psnr, loss_threshold and change_threshold; negative: off.",
        low=-1,
        high=1,
    )
    working_size: int = _setting(
        224,
        "Side in pixels of the square image that greedy and patch_diff work on; a multiple of 28.",
        low=56,
        high=896,
        live=False,
    )
    mask_style: MaskStyle = _setting(  # noqa: RUF009 (a field)
        "native",
        "Cells drawn and published: every one, those not hidden by coarser ones, or all finest cells touched.",
        choices=MASK_STYLES,
    )
    view: str = _setting("overlay", "What ~/overlay shows; see the pictures in the README.", choices=VIEWS)
    opacity: float = _setting(
        0.35, "Tint of the gazed cells in the overlay: 0 is none, 1 hides the image.", low=0, high=1
    )
    annotate: bool = _setting(True, "Write ratio and PSNR into a corner of the overlay.")
    reconstruction_fill: str = _setting(
        "source",
        "~/reconstruction holds full-resolution pixels, or just what the tokens carry.",
        choices=FILLS,
    )
    jpeg_quality: int = _setting(85, "Quality of ~/overlay/compressed.", low=1, high=100)
    image_transport: str = _setting(
        "raw",
        "Subscribe to image (raw) or image/compressed (compressed).",
        choices=("raw", "compressed"),
        live=False,
    )
    autostart: bool = _setting(
        True, "Configure and activate at start; false waits for a lifecycle manager.", live=False
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = _checked(item.name, getattr(self, item.name), item.default, item.metadata["spec"])
            object.__setattr__(self, item.name, value)
        if self.working_size % 28:
            raise SettingsError(
                f"working_size must be a multiple of 28 (it is cut into 2, 4, 7 and 14 cells), got {self.working_size}"
            )
        if self.tile_overlap >= self.working_size / 2:
            raise SettingsError(
                f"tile_overlap must be below half of working_size = {self.working_size}, got {self.tile_overlap}"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values, the rest at their defaults.

        Raises:
            SettingsError: a name that no setting has, or a bad value.
        """
        return cls().replaced(values)

    def replaced(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values.

        Raises:
            SettingsError: a name that no setting has, or a bad value.
        """
        names = {item.name for item in fields(self)}
        unknown = sorted(str(name) for name in values if name not in names)
        if unknown:
            raise SettingsError(f"no setting is called {', '.join(unknown)}")
        return dataclasses.replace(self, **values)

    @property
    def layout(self) -> TokenLayout:
        """The grids at the working size."""
        return TokenLayout(DEFAULT_LAYOUT.grids, self.working_size // DEFAULT_LAYOUT.grids[-1])

    def limits(self, keyframe: bool) -> Limits:
        """What a source may spend on a frame.

        The quality knob q, where it is on, sets all of it: the budget from 4 to all 265 tokens by equal factors
        (on a keyframe from 66), the target from 25 to 50 dB and the predicted loss from 1 to 0.4 by equal steps, the
        change from 32 to 1 grey levels by equal factors. Each grows more demanding with q.
        """
        q = self.quality
        if q < 0:
            return Limits(
                budget=self.keyframe_budget if keyframe else self.budget,
                target_psnr=self.target_psnr or math.inf,
                loss_threshold=self.loss_threshold,
                change_threshold=self.change_threshold,
                hysteresis=self.hysteresis,
            )
        count = DEFAULT_LAYOUT.count
        least = count // 4 if keyframe else 4
        return Limits(
            budget=round(least * (count / least) ** q),
            target_psnr=25 + 25 * q,
            loss_threshold=1 - 0.6 * q,
            change_threshold=32 ** (1 - q),
            hysteresis=self.hysteresis,
        )


def specs() -> dict[str, tuple[Any, Spec]]:
    """Default and specification of every setting by name."""
    return {item.name: (item.default, item.metadata["spec"]) for item in fields(Settings)}


def markdown_table() -> str:
    """The settings as a Markdown table, as the README shows it."""
    lines = [
        "| parameter | type | default | range | applies | what it does |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (default, spec) in specs().items():
        shown = (
            f"`{str(default).lower() if isinstance(default, bool) else default}`"
            if default != ""
            else "(empty)"
        )
        kind = {"str": "string", "float": "double"}.get(type(default).__name__, type(default).__name__)
        when = "next frame" if spec.live else "on configure"
        lines.append(f"| `{name}` | {kind} | {shown} | {spec.range_text()} | {when} | {spec.description} |")
    return "\n".join(lines) + "\n"


def _checked(name: str, value: Any, default: Any, spec: Spec) -> Any:
    wanted = type(default)
    if wanted is float and type(value) is int and abs(value) < 2**63:
        value = float(value)
    if type(value) is not wanted:
        raise SettingsError(f"{name} must be of type {wanted.__name__}, got {value!r}")
    if spec.choices and value not in spec.choices:
        raise SettingsError(f"{name} must be one of {', '.join(spec.choices)}, got {value!r}")
    # Written so that NaN, which compares false with everything, is refused too.
    if spec.low is not None and spec.high is not None and not spec.low <= value <= spec.high:
        raise SettingsError(f"{name} must be {spec.low:g} to {spec.high:g}, got {value}")
    return value
