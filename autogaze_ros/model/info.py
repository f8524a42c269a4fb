"""What a model folder holds, read from its configuration and the weights' header alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .checkpoint import CHECKPOINT_FILE, check_header, read_header
from .config import read_config, read_preprocessor


def info(path: str | Path) -> dict[str, Any]:
    """Describe a model folder; values are numbers, texts and lists, ready for JSON.

    Raises:
        ConfigError, CheckpointError: the folder is no model that can be loaded; the message says why.
    """
    folder = Path(path)
    config, preprocessor = read_config(folder), read_preprocessor(folder)
    header = read_header(folder)
    check_header(header, config)
    decoder = config.decoder
    if preprocessor.do_resize:
        size = f"{preprocessor.height} x {preprocessor.width}"
        if preprocessor.shortest_edge is not None:
            size = f"shortest edge {preprocessor.shortest_edge}"
    else:
        size = "as it is"
    return {
        "path": str(folder),
        "parameters": sum(math.prod(entry["shape"]) for entry in header.values()),
        "tensors": len(header),
        "dtypes": sorted({entry["dtype"] for entry in header.values()}),
        "file_bytes": (folder / CHECKPOINT_FILE).stat().st_size,
        "scales": list(config.scales),
        "grids": list(config.grids),
        "ids_each_frame": config.num_ids,
        "vision_tokens_each_frame": config.num_vision_tokens,
        "input_size": config.input_img_size,
        "resize": size,
        "vision_dim": config.vision_dim,
        "decoder_layers": decoder.num_layers,
        "hidden_size": decoder.hidden_size,
        "heads": decoder.num_heads,
        "head_dim": decoder.head_dim,
        "ids_each_block": decoder.num_multi_token_pred,
        "trained_on_frames": config.max_num_frames,
        "gazing_ratio": config.default_gazing_ratio,
        "task_loss_requirement": config.default_task_loss_requirement,
    }
