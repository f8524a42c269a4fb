"""The tiny golden model, and what lies in the shared folder where there is one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

TINY = Path(__file__).parents[1] / "data" / "tiny"
SHARED = Path(os.environ.get("AUTOGAZE_SHARED") or Path(__file__).parents[3] / "shared")


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    # Threads of several test processes on a small machine wait for one another far longer than they work.
    import torch

    torch.set_num_threads(1)


def golden(folder):
    from safetensors.torch import load_file

    from autogaze_ros.model import AutoGaze

    return SimpleNamespace(
        folder=folder,
        tensors=load_file(folder / "golden.safetensors"),
        settings=json.loads((folder / "settings.json").read_text()),
        model=AutoGaze.from_folder(folder, device="cpu"),
    )


@pytest.fixture(scope="session")
def tiny():
    return golden(TINY)


def shared(name, what):
    folder = SHARED / "golden" / name
    if not folder.is_dir():
        pytest.skip(f"needs {what} in {folder} (set AUTOGAZE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def full():
    return golden(shared("full", "the golden data of the released sizes"))


@pytest.fixture(scope="session")
def birds():
    return shared("birds", "a run of the released weights")


@pytest.fixture
def frames(tiny):
    """Six synthetic frames, uint8 (224, 224, 3)."""
    return [frame.numpy() for frame in tiny.tensors["frames_rgb"]]
