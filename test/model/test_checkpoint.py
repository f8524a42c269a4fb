"""Weights that are not exactly what the configuration asks for are refused by name."""

import shutil

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from autogaze_ros.model import AutoGaze, CheckpointError  # noqa: E402
from autogaze_ros.model.checkpoint import read_header  # noqa: E402

CONV = "gazing_model.vision_model.blocks.0.conv3d.weight"


@pytest.fixture
def folder(tiny, tmp_path):
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copy(tiny.folder / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def weights(folder):
    return load_file(folder / "model.safetensors")


def load(folder):
    return AutoGaze.from_folder(folder, device="cpu")


@pytest.mark.parametrize("name", [
    "gazing_model.connector.pos_embed", CONV, "gazing_model.gaze_decoder.model.layers.1.mlp.up_proj.weight",
    "gazing_model.gaze_decoder.task_loss_prediction_head.weight",
])  # fmt: skip
def test_a_missing_tensor_is_named(folder, weights, name):
    del weights[name]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"{name}.* is missing"):
        load(folder)


def test_an_unexpected_tensor_is_named(folder, weights):
    weights["gazing_model.gaze_decoder.model.layers.2.mlp.up_proj.weight"] = torch.zeros(96, 48)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.2\.mlp\.up_proj"):
        load(folder)


def test_a_tensor_of_another_shape_is_named(folder, weights):
    weights[CONV] = weights[CONV][:, :, :, :2].contiguous()
    save_file(weights, folder / "model.safetensors")
    shapes = r"blocks\.0\.conv3d\.weight has shape \[48, 48, 3, 2, 3\].*\[48, 48, 3, 3, 3\]"
    with pytest.raises(CheckpointError, match=shapes):
        load(folder)


def test_a_tensor_of_another_type_is_named(folder, weights):
    weights[CONV] = weights[CONV].to(torch.int32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks\.0\.conv3d\.weight is I32"):
        load(folder)


def test_a_weight_that_is_not_finite_is_named(folder, weights):
    weights[CONV][3, 2, 1, 0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks\.0\.conv3d\.weight holds values that are not finite"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_read(folder, weights, dtype):
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, folder / "model.safetensors")
    assert load(folder).decoder.embedding.dtype == torch.float32


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_a_file_that_was_cut_off(folder, keep):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="download it again"):
        load(folder)


@pytest.mark.parametrize("data", [
    b"\x80\x04\x95" * 20, b"\x02\0\0\0\0\0\0\0[]", b'\x10\0\0\0\0\0\0\0{"a": {"b": 12}}',
])  # fmt: skip
def test_a_file_of_another_format(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"safetensors|damaged"):
        load(folder)


def test_a_pickle_is_never_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not found"):
        load(folder)


def test_header_lists_what_is_there(folder):
    assert read_header(folder)[CONV]["shape"] == [48, 48, 3, 3, 3]
