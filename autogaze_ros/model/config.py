"""The sizes of an AutoGaze network and how its input is prepared, read from a model folder.

Two files describe a model: `config.json` (the network) and `preprocessor_config.json` (how a camera frame
becomes its input). Nothing has a silent default here: a key that the network needs and the file lacks, a value
this implementation does not compute, or two keys that contradict each other raise a `ConfigError` that names the
key. Keys that only `transformers` reads (`torch_dtype`, `top_k`, `use_flash_attn`, ...) are ignored in
`config.json`; in `preprocessor_config.json`, where each key changes pixels, an unknown key is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding with the `llama3` frequency scaling."""

    theta: float
    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class DecoderConfig:
    """The gaze decoder: a small Llama with several prediction heads."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    num_multi_token_pred: int
    rope: RopeConfig


@dataclass(frozen=True)
class ModelConfig:
    """Everything `config.json` says that the computation depends on."""

    scales: tuple[int, ...]
    patch_size: int
    input_img_size: int
    vision_dim: int
    decoder: DecoderConfig
    max_num_frames: int
    default_gazing_ratio: float
    default_task_loss_requirement: float | None

    @property
    def grids(self) -> tuple[int, ...]:
        """Cells along one side at each scale, e.g. (2, 4, 7, 14)."""
        return tuple(scale // self.patch_size for scale in self.scales)

    @property
    def num_ids(self) -> int:
        """Ids a frame offers (265); the id of this value itself is both end and padding."""
        return sum(grid * grid for grid in self.grids)

    @property
    def eos_id(self) -> int:
        """The id after the last cell: end of a frame, and what a padded slot holds."""
        return self.num_ids

    @property
    def vision_grid(self) -> int:
        """Vision tokens along one side (14)."""
        return self.input_img_size // self.patch_size

    @property
    def num_vision_tokens(self) -> int:
        """Vision tokens a frame puts into the decoder (196)."""
        return self.vision_grid**2

    def budget(self, gazing_ratio: float) -> int:
        """Most slots a frame may use: floor(ratio * ids), at least 1."""
        return max(1, math.floor(gazing_ratio * self.num_ids))


@dataclass(frozen=True)
class PreprocessorConfig:
    """How a uint8 RGB frame becomes the network's float input.

    `height` and `width` are exact; where they are None, `shortest_edge` gives the shorter side and the aspect
    stays. `crop` is (height, width) of a centre crop after the resize, or None.
    """

    do_resize: bool
    height: int | None
    width: int | None
    shortest_edge: int | None
    crop: tuple[int, int] | None
    scale: float
    offset: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class _Section:
    """One JSON object, with access that names the key and the file in every complaint."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def fail(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.where}{key}: {what}")

    def get(self, key: str) -> Any:
        if key not in self.values:
            raise self.fail(key, "missing; take the file that was published with the weights")
        return self.values[key]

    def section(self, key: str) -> _Section:
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise self.fail(key, f"must be an object, is {value!r}")
        return _Section(value, f"{self.where}{key}.")

    def integer(self, key: str) -> int:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.fail(key, f"must be a whole number of at least 1, is {value!r}")
        return value

    def number(self, key: str) -> float:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.fail(key, f"must be a finite number, is {value!r}")
        return float(value)

    def positive(self, key: str) -> float:
        value = self.number(key)
        if value <= 0:
            raise self.fail(key, f"must be above 0, is {value!r}")
        return value

    def boolean(self, key: str) -> bool:
        value = self.get(key)
        if not isinstance(value, bool):
            raise self.fail(key, f"must be true or false, is {value!r}")
        return value

    def only(self, key: str, *supported: Any) -> Any:
        """A key of which only some values are implemented."""
        value = self.get(key)
        if not any(value == s and isinstance(value, bool) == isinstance(s, bool) for s in supported):
            wanted = " or ".join(repr(s) for s in supported)
            raise self.fail(key, f"{value!r} is not supported (only {wanted})")
        return value

    def triple(self, key: str) -> tuple[float, float, float]:
        value = self.get(key)
        good = isinstance(value, list) and len(value) == 3
        if not good or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in value):
            raise self.fail(key, f"must be a list of three numbers, is {value!r}")
        return float(value[0]), float(value[1]), float(value[2])


def read_config(folder: str | Path) -> ModelConfig:
    """Read and check `config.json` of a model folder.

    Raises:
        ConfigError: the file is absent or not JSON, or a key is missing, contradictory or unsupported.
    """
    return parse_config(_read_json(Path(folder) / CONFIG_FILE))


def read_preprocessor(folder: str | Path) -> PreprocessorConfig:
    """Read and check `preprocessor_config.json` of a model folder; errors as in `read_config`."""
    return parse_preprocessor(_read_json(Path(folder) / PREPROCESSOR_FILE))


def parse_config(values: Mapping[str, Any]) -> ModelConfig:
    """Check the content of `config.json`; see `read_config`."""
    top = _Section(values, f"{CONFIG_FILE}: ")
    top.only("model_type", "autogaze")
    gaze = top.section("gaze_model_config")
    vision = gaze.section("vision_model_config")
    connector = gaze.section("connector_config")

    image = gaze.integer("input_img_size")
    patch = vision.integer("kernel_size")
    vision_dim = vision.integer("hidden_dim")
    vision.only("depth", 1)
    vision.only("temporal_patch_size", 1)
    vision.only("trunk_spatial_kernel_size", 3)
    vision.only("trunk_temporal_kernel_size", 3)

    scales = _scales(top)
    for scale in scales:
        if scale % patch:
            raise top.fail("scales", f"{scale} is no multiple of vision_model_config.kernel_size = {patch}")
    if scales[-1] != image:
        raise top.fail(
            "scales", f"the largest is {scales[-1]}, but gaze_model_config.input_img_size = {image}"
        )

    decoder = _decoder(gaze.section("gaze_decoder_config"))
    ids = sum((scale // patch) ** 2 for scale in scales)
    tokens = (image // patch) ** 2
    _same(top, "num_vision_tokens_each_frame", ids, "the cells of all scales")
    _same(gaze, "num_vision_tokens_each_frame", ids, "the cells of all scales")
    _same(connector, "num_tokens", tokens, "the patches of a frame")
    _same(vision, "out_dim", decoder.hidden_size, "gaze_decoder_config.hidden_size")
    _same(connector, "hidden_dim", decoder.hidden_size, "gaze_decoder_config.hidden_size")
    _same(gaze.section("gaze_decoder_config"), "vocab_size", ids + 1, "every cell and the end token")
    _same(gaze.section("gaze_decoder_config"), "eos_token_id", ids, "the id after the last cell")
    if decoder.num_multi_token_pred > tokens:
        raise gaze.fail(
            "gaze_decoder_config.num_multi_token_pred",
            f"{decoder.num_multi_token_pred} is more than the {tokens} vision tokens whose positions it reuses",
        )

    ratio, loss = _sampling(top)
    return ModelConfig(
        scales=scales,
        patch_size=patch,
        input_img_size=image,
        vision_dim=vision_dim,
        decoder=decoder,
        max_num_frames=top.integer("max_num_frames"),
        default_gazing_ratio=ratio,
        default_task_loss_requirement=loss,
    )


def _scales(top: _Section) -> tuple[int, ...]:
    text = top.get("scales")
    parts = str(text).split("+") if isinstance(text, (str, int)) else []
    if not parts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise top.fail("scales", f"must be pixel sizes joined by '+', such as 32+64+112+224, is {text!r}")
    scales = tuple(int(part) for part in parts)
    if list(scales) != sorted(set(scales)):
        raise top.fail("scales", f"must rise from the smallest to the largest, is {text!r}")
    return scales


def _decoder(section: _Section) -> DecoderConfig:
    section.only("model_type", "llama")
    section.only("hidden_act", "silu")
    section.only("attention_bias", False)
    section.only("mlp_bias", False)
    section.only("tie_word_embeddings", False)
    hidden = section.integer("hidden_size")
    heads = section.integer("num_attention_heads")
    head_dim = section.integer("head_dim")
    _same(section, "num_key_value_heads", heads, "num_attention_heads (grouped heads are not supported)")
    if heads * head_dim != hidden:
        raise section.fail("head_dim", f"{head_dim} x {heads} heads is not hidden_size = {hidden}")
    if head_dim % 2:
        raise section.fail("head_dim", f"must be even for rotary positions, is {head_dim}")
    return DecoderConfig(
        hidden_size=hidden,
        intermediate_size=section.integer("intermediate_size"),
        num_layers=section.integer("num_hidden_layers"),
        num_heads=heads,
        head_dim=head_dim,
        vocab_size=section.integer("vocab_size"),
        rms_norm_eps=section.positive("rms_norm_eps"),
        num_multi_token_pred=section.integer("num_multi_token_pred"),
        rope=_rope(section),
    )


def _rope(section: _Section) -> RopeConfig:
    rope = section.section("rope_scaling")
    # Older writers call it `type`; where both are there they must agree.
    if "type" in rope.values and "rope_type" not in rope.values:
        rope.only("type", "llama3")
    else:
        rope.only("rope_type", "llama3")
        if "type" in rope.values:
            rope.only("type", "llama3")
    low, high = rope.positive("low_freq_factor"), rope.positive("high_freq_factor")
    if high <= low:
        raise rope.fail("high_freq_factor", f"must be above low_freq_factor = {low}, is {high}")
    return RopeConfig(
        theta=section.positive("rope_theta"),
        factor=rope.positive("factor"),
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=rope.integer("original_max_position_embeddings"),
    )


def _sampling(top: _Section) -> tuple[float, float | None]:
    """The gazing ratio and loss threshold that the model's authors use for inference."""
    ratio = top.section("gazing_ratio_config")
    ratio.only("sample_strategy_during_inference", "fixed")
    fixed = ratio.section("fixed")
    value = fixed.positive("gazing_ratio")
    if value > 1:
        raise fixed.fail("gazing_ratio", f"must lie in (0, 1], is {value}")
    top.section("gazing_ratio_each_frame_config").only("sample_strategy_during_inference", "uniform")
    if not top.boolean("has_task_loss_requirement_during_inference"):
        return value, None
    loss = top.section("task_loss_requirement_config")
    loss.only("sample_strategy_during_inference", "fixed")
    return value, loss.section("fixed").number("task_loss_requirement")


def _same(section: _Section, key: str, expected: int, meaning: str) -> None:
    value = section.integer(key)
    if value != expected:
        raise section.fail(key, f"is {value}, which contradicts {meaning}: {expected}")


# Keys that change no pixel of an RGB uint8 frame: who made the file, and what the arrays are called.
_INERT = {"image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys",
          "do_convert_rgb", "data_format", "input_data_format", "return_tensors"}  # fmt: skip
_ACTIVE = {"do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
           "offset", "do_normalize", "image_mean", "image_std"}  # fmt: skip


def parse_preprocessor(values: Mapping[str, Any]) -> PreprocessorConfig:
    """Check the content of `preprocessor_config.json`; see `read_preprocessor`."""
    top = _Section(values, f"{PREPROCESSOR_FILE}: ")
    for key in values:
        if key not in _INERT | _ACTIVE:
            raise top.fail(key, "unknown; a step of preprocessing that is not implemented would be left out")

    height = width = shortest = None
    if top.boolean("do_resize"):
        top.only("resample", 2)  # PIL's number for bilinear
        size = top.section("size")
        if set(size.values) == {"shortest_edge"}:
            shortest = size.integer("shortest_edge")
        elif set(size.values) == {"height", "width"}:
            height, width = size.integer("height"), size.integer("width")
        else:
            raise top.fail(
                "size", f"needs height and width, or shortest_edge alone, is {dict(size.values)!r}"
            )

    crop = None
    if top.boolean("do_center_crop"):
        section = top.section("crop_size")
        crop = section.integer("height"), section.integer("width")

    scale, offset = 1.0, 0.0
    if top.boolean("do_rescale"):
        scale = top.positive("rescale_factor")
        offset = -1.0 if top.boolean("offset") else 0.0

    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if top.boolean("do_normalize"):
        mean, std = top.triple("image_mean"), top.triple("image_std")
        if min(std) <= 0:
            raise top.fail("image_std", f"must be above 0, is {list(std)}")
    return PreprocessorConfig(
        do_resize=bool(values["do_resize"]),
        height=height,
        width=width,
        shortest_edge=shortest,
        crop=crop,
        scale=scale,
        offset=offset,
        mean=mean,
        std=std,
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; a model folder holds config.json, preprocessor_config.json "
                          "and model.safetensors") from None  # fmt: skip
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); download it again") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: must hold a JSON object, holds {type(values).__name__}")
    return values
