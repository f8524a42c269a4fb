"""Writes a model folder as inference reads it, and reads one back for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..model.checkpoint import CHECKPOINT_FILE, PREFIX, load_weights
from ..model.config import CONFIG_FILE, PREPROCESSOR_FILE, parse_config, parse_preprocessor
from .student import Student


def config_values(hidden: int = 192, layers: int = 4, heads: int = 6, inner: int = 384) -> dict[str, Any]:
    """The content of `config.json`: the published network's sizes, unless others are asked for (for tests)."""
    return {
        "architectures": ["AutoGaze"],
        "model_type": "autogaze",
        "scales": "32+64+112+224",
        "num_vision_tokens_each_frame": 265,
        "max_num_frames": 16,
        "gazing_ratio_config": {
            "sample_strategy_during_inference": "fixed",
            "fixed": {"gazing_ratio": 0.75},
        },
        "gazing_ratio_each_frame_config": {"sample_strategy_during_inference": "uniform", "uniform": {}},
        "has_task_loss_requirement_during_inference": True,
        "task_loss_requirement_config": {
            "sample_strategy_during_inference": "fixed",
            "fixed": {"task_loss_requirement": 0.7},
        },
        "gaze_model_config": {
            "input_img_size": 224,
            "num_vision_tokens_each_frame": 265,
            "vision_model_config": {
                "kernel_size": 16,
                "hidden_dim": hidden,
                "out_dim": hidden,
                "depth": 1,
                "temporal_patch_size": 1,
                "trunk_spatial_kernel_size": 3,
                "trunk_temporal_kernel_size": 3,
            },
            "connector_config": {"num_tokens": 196, "hidden_dim": hidden},
            "gaze_decoder_config": {
                "model_type": "llama",
                "vocab_size": 266,
                "eos_token_id": 265,
                "hidden_size": hidden,
                "intermediate_size": inner,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "num_key_value_heads": heads,
                "head_dim": hidden // heads,
                "hidden_act": "silu",
                "attention_bias": False,
                "mlp_bias": False,
                "tie_word_embeddings": False,
                "rms_norm_eps": 1e-5,
                "num_multi_token_pred": 10,
                "max_position_embeddings": 131072,
                "rope_theta": 500000.0,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 8192,
                },
            },
        },
    }


def preprocessor_values() -> dict[str, Any]:
    """The content of `preprocessor_config.json`: a 224 x 224 square, as the clips are."""
    return {
        "image_processor_type": "AutoGazeImageProcessor",
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 127.5,
        "offset": True,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }


def new_student(values: dict[str, Any] | None = None) -> Student:
    """A network with random weights."""
    return Student(parse_config(values or config_values()), parse_preprocessor(preprocessor_values()))


def save_folder(
    folder: Path,
    weights: dict[str, torch.Tensor],
    values: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write `config.json`, `preprocessor_config.json` and `model.safetensors`.

    Args:
        folder: made where it is missing.
        weights: a student's state.
        values: of `config.json`.
        dtype: to store the weights in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {PREFIX + name: part.detach().to("cpu", dtype).contiguous() for name, part in weights.items()}
    for name, content in (
        (CONFIG_FILE, values or config_values()),
        (PREPROCESSOR_FILE, preprocessor_values()),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    save_file(tensors, folder / CHECKPOINT_FILE, {"format": "pt"})


def load_folder(folder: Path) -> Student:
    """A student with the weights of a folder."""
    values = json.loads((folder / CONFIG_FILE).read_text())
    student = new_student(values)
    student.load_state_dict(load_weights(folder, student.config))
    return student
