"""Reads `model.safetensors`: exactly the tensors the configuration asks for, and nothing else.

The safetensors format only, never pickle: reading a downloaded file must not run code. The file's header gives
every name, shape and type, so all of them are checked before a single weight is read.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .config import ModelConfig
from .errors import CheckpointError

CHECKPOINT_FILE = "model.safetensors"
PREFIX = "gazing_model."
DTYPES = ("F32", "F16", "BF16")
_HEADER_LIMIT = 100_000_000  # bytes; the format's own bound


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name (without the `gazing_model.` prefix) -> shape of every tensor of this network."""
    c, d = config.vision_dim, config.decoder
    hidden, inner, vocab, slots = d.hidden_size, d.intermediate_size, d.vocab_size, d.num_multi_token_pred
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.temporal_conv.weight": (c, 3, 1, config.patch_size, config.patch_size),
        "vision_model.temporal_conv.bias": (c,),
        "vision_model.norm.weight": (c,),
        "vision_model.norm.bias": (c,),
        "vision_model.blocks.0.conv3d.weight": (c, c, 3, 3, 3),
        "vision_model.blocks.0.conv3d.bias": (c,),
        "vision_model.out_proj.weight": (hidden, c, 1, 1, 1),
        "vision_model.out_proj.bias": (hidden,),
        "connector.pos_embed": (config.num_vision_tokens, hidden),
        "gaze_decoder.model.embed_tokens.weight": (vocab, hidden),
        "gaze_decoder.model.norm.weight": (hidden,),
        "gaze_decoder.lm_head.weight": (slots * vocab, hidden),
        "gaze_decoder.task_loss_prediction_head.weight": (slots, hidden),
    }
    for layer in range(d.num_layers):
        prefix = f"gaze_decoder.model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = (hidden, hidden)
        shapes[f"{prefix}mlp.gate_proj.weight"] = (inner, hidden)
        shapes[f"{prefix}mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"{prefix}mlp.down_proj.weight"] = (hidden, inner)
        shapes[f"{prefix}input_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
    return shapes


def read_header(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Name -> {"dtype", "shape", "data_offsets"} of each tensor in the file, without reading the weights.

    Raises:
        CheckpointError: the file is absent, no safetensors file, or shorter than its header says.
    """
    path = Path(folder) / CHECKPOINT_FILE
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise CheckpointError(f"{path}: cut off after {size} bytes; download it again")
            (length,) = struct.unpack("<Q", prefix)
            if length > _HEADER_LIMIT:
                raise CheckpointError(f"{path}: not a safetensors file; other formats are not read")
            header = json.loads(file.read(length)) if length <= size - 8 else None
    except FileNotFoundError:
        raise CheckpointError(f"{path}: not found; the folder must hold the published weights") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}); download it again") from error
    if header is None:
        raise CheckpointError(f"{path}: cut off inside its header ({size} bytes); download it again")
    try:
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        for entry in tensors.values():
            entry["dtype"], tuple(entry["shape"])
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        raise CheckpointError(f"{path}: its header is damaged ({error!r}); download it again") from error
    if 8 + length + end != size:
        raise CheckpointError(
            f"{path}: {size} bytes long, its header announces {8 + length + end}; download it again"
        )
    return tensors


def check_header(header: dict[str, dict[str, Any]], config: ModelConfig) -> None:
    """Compare a file's tensors with the configuration's; raises a `CheckpointError` naming the first misfit."""
    expected = {PREFIX + name: shape for name, shape in expected_shapes(config).items()}
    for name, shape in expected.items():
        if name not in header:
            raise CheckpointError(f"tensor {name} {list(shape)} is missing from {CHECKPOINT_FILE}")
        found = tuple(header[name]["shape"])
        if found != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(found)}, config.json asks for {list(shape)}; "
                "do config.json and model.safetensors belong together?"
            )
        if header[name]["dtype"] not in DTYPES:
            raise CheckpointError(
                f"tensor {name} is {header[name]['dtype']}, supported are {', '.join(DTYPES)}"
            )
    for name in header:
        if name not in expected:
            raise CheckpointError(f"tensor {name} in {CHECKPOINT_FILE} belongs to no part of this network")


def load_weights(folder: str | Path, config: ModelConfig) -> dict[str, torch.Tensor]:
    """All weights as float32 on the CPU, under their names without the `gazing_model.` prefix.

    Raises:
        CheckpointError: see `read_header` and `check_header`; also a weight that is not finite.
    """
    check_header(read_header(folder), config)
    path = Path(folder) / CHECKPOINT_FILE
    try:
        tensors = load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); download it again") from error
    weights = {}
    for name, tensor in tensors.items():
        weights[name.removeprefix(PREFIX)] = tensor.float()
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"tensor {name} holds values that are not finite; download it again")
    return weights
