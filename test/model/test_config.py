"""Each key that matters and is wrong is one error that names it; the others are ignored."""

import copy
import json

import pytest

pytest.importorskip("torch")

from autogaze_ros.model import ConfigError, ModelError, info
from autogaze_ros.model.config import parse_config, parse_preprocessor, read_config

GAZE = "gaze_model_config"
VISION, CONNECTOR, DECODER = (
    f"{GAZE}.vision_model_config",
    f"{GAZE}.connector_config",
    f"{GAZE}.gaze_decoder_config",
)

NEEDED = [
    "model_type", "scales", "num_vision_tokens_each_frame", "max_num_frames", GAZE, VISION, CONNECTOR, DECODER,
    "gazing_ratio_config", "gazing_ratio_config.fixed.gazing_ratio", "gazing_ratio_each_frame_config",
    "has_task_loss_requirement_during_inference", "task_loss_requirement_config.fixed.task_loss_requirement",
    f"{GAZE}.input_img_size", f"{GAZE}.num_vision_tokens_each_frame",
    *[f"{VISION}.{k}" for k in ("kernel_size", "hidden_dim", "out_dim", "depth", "temporal_patch_size",
                                "trunk_spatial_kernel_size", "trunk_temporal_kernel_size")],
    *[f"{CONNECTOR}.{k}" for k in ("hidden_dim", "num_tokens")],
    *[f"{DECODER}.{k}" for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                 "num_key_value_heads", "head_dim", "vocab_size", "eos_token_id", "rms_norm_eps",
                                 "num_multi_token_pred", "rope_theta", "rope_scaling", "hidden_act",
                                 "attention_bias", "mlp_bias", "tie_word_embeddings", "model_type")],
    *[f"{DECODER}.rope_scaling.{k}" for k in ("rope_type", "factor", "low_freq_factor", "high_freq_factor",
                                              "original_max_position_embeddings")],
]  # fmt: skip

WRONG = [
    ("model_type", "llama"), ("scales", "32+64+112"), ("scales", "32+64+100+224"), ("scales", "224+112"),
    ("scales", "small"), ("scales", 224.0), ("num_vision_tokens_each_frame", 196), ("max_num_frames", 0),
    (GAZE, 7), (f"{GAZE}.input_img_size", 256), (f"{GAZE}.num_vision_tokens_each_frame", 196),
    (f"{VISION}.depth", 2), (f"{VISION}.temporal_patch_size", 2), (f"{VISION}.trunk_spatial_kernel_size", 5),
    (f"{VISION}.trunk_temporal_kernel_size", 1), (f"{VISION}.out_dim", 96), (f"{VISION}.hidden_dim", "48"),
    (f"{VISION}.kernel_size", 14), (f"{CONNECTOR}.hidden_dim", 96), (f"{CONNECTOR}.num_tokens", 265),
    (f"{DECODER}.hidden_act", "gelu"), (f"{DECODER}.attention_bias", True), (f"{DECODER}.mlp_bias", True),
    (f"{DECODER}.attention_bias", 0), (f"{DECODER}.tie_word_embeddings", True), (f"{DECODER}.vocab_size", 265),
    (f"{DECODER}.eos_token_id", 2), (f"{DECODER}.num_key_value_heads", 1), (f"{DECODER}.head_dim", 32),
    (f"{DECODER}.hidden_size", 0), (f"{DECODER}.num_multi_token_pred", 500), (f"{DECODER}.rms_norm_eps", -1.0),
    (f"{DECODER}.rope_theta", float("nan")), (f"{DECODER}.rope_scaling", None),
    (f"{DECODER}.rope_scaling.rope_type", "yarn"), (f"{DECODER}.rope_scaling.type", "linear"),
    (f"{DECODER}.rope_scaling.high_freq_factor", 1.0), (f"{DECODER}.num_hidden_layers", True),
    ("gazing_ratio_config.fixed.gazing_ratio", 1.5),
    ("gazing_ratio_config.sample_strategy_during_inference", "uniform"),
    ("gazing_ratio_each_frame_config.sample_strategy_during_inference", "dirichlet"),
    ("task_loss_requirement_config.sample_strategy_during_inference", "uniform"),
    ("has_task_loss_requirement_during_inference", "yes"),
]  # fmt: skip

IGNORED = [
    "architectures", "attn_mode", "use_flash_attn", "torch_dtype", "transformers_version", "max_batch_size",
    f"{VISION}.top_k", f"{DECODER}.use_cache", f"{DECODER}.max_position_embeddings", f"{DECODER}.initializer_range",
]  # fmt: skip


@pytest.fixture
def values(tiny):
    return json.loads((tiny.folder / "config.json").read_text())


@pytest.fixture
def preprocessor(tiny):
    return json.loads((tiny.folder / "preprocessor_config.json").read_text())


def parent(values, path):
    *folders, key = path.split(".")
    for folder in folders:
        values = values[folder]
    return values, key


@pytest.mark.parametrize("path", NEEDED)
def test_a_missing_key_is_named(values, path):
    holder, key = parent(values, path)
    del holder[key]
    with pytest.raises(ConfigError, match=rf"config\.json: {path}: missing"):
        parse_config(values)


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_wrong_value_is_named(values, path, value):
    holder, key = parent(values, path)
    holder[key] = value
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert key in str(caught.value)


@pytest.mark.parametrize("path", IGNORED)
def test_what_the_model_does_not_use_is_ignored(values, path):
    wanted = parse_config(copy.deepcopy(values))
    holder, key = parent(values, path)
    holder[key] = "anything"
    assert parse_config(values) == wanted
    del holder[key]
    values["written_by_a_later_version"] = True
    assert parse_config(values) == wanted


def test_older_name_of_the_rope_type(values):
    rope = values[GAZE]["gaze_decoder_config"]["rope_scaling"]
    rope["type"] = rope.pop("rope_type")
    parse_config(values)
    rope["type"] = "dynamic"
    with pytest.raises(ConfigError, match=r"rope_scaling\.type"):
        parse_config(values)


def test_a_model_without_a_threshold(values):
    values["has_task_loss_requirement_during_inference"] = False
    del values["task_loss_requirement_config"]
    assert parse_config(values).default_task_loss_requirement is None


def test_sizes_and_budget(values):
    config = parse_config(values)
    assert config.grids == (2, 4, 7, 14)
    assert (config.num_ids, config.eos_id, config.num_vision_tokens) == (265, 265, 196)
    assert [config.budget(r) for r in (0.75, 0.3, 1e-9, 1.0)] == [198, 79, 1, 265]


@pytest.mark.parametrize("key", ["do_resize", "size", "resample", "do_rescale", "rescale_factor", "offset",
                                 "do_normalize", "image_mean", "image_std", "do_center_crop"])  # fmt: skip
def test_a_missing_preprocessor_key_is_named(preprocessor, key):
    del preprocessor[key]
    with pytest.raises(ConfigError, match=rf"preprocessor_config\.json: {key}"):
        parse_preprocessor(preprocessor)


@pytest.mark.parametrize(("key", "value"), [
    ("resample", 3), ("size", {"height": 224}), ("size", {"longest_edge": 224}), ("size", 224), ("do_pad", True),
    ("image_std", [0.2, 0.0, 0.2]), ("image_mean", [0.5]), ("rescale_factor", 0), ("do_normalize", 1),
    ("size", {"height": -1, "width": 224}), ("do_gamma", None),
])  # fmt: skip
def test_a_wrong_preprocessor_value_is_named(preprocessor, key, value):
    preprocessor[key] = value
    with pytest.raises(ConfigError, match=key if key != "size" else r"size|height"):
        parse_preprocessor(preprocessor)


def test_preprocessor_steps(preprocessor):
    preprocessor |= {
        "do_rescale": False,
        "do_normalize": False,
        "size": {"shortest_edge": 200},
        "do_center_crop": True,
    }
    config = parse_preprocessor(preprocessor)
    assert (config.scale, config.offset, config.mean, config.std) == (1.0, 0.0, (0, 0, 0), (1, 1, 1))
    assert (config.shortest_edge, config.height, config.crop) == (200, None, (224, 224))
    preprocessor["do_resize"] = False
    assert parse_preprocessor(preprocessor).do_resize is False


@pytest.mark.parametrize(
    ("text", "what"), [(None, "not found"), ("{", "JSON"), ("[1]", "object"), (b"\xff\xfe", "JSON")]
)
def test_a_file_that_is_no_config(tmp_path, text, what):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=what):
        read_config(tmp_path)


def test_info_describes_the_folder(tiny):
    told = info(tiny.folder)
    assert told["grids"] == [2, 4, 7, 14]
    assert told["ids_each_block"] == 4
    assert told["parameters"] == sum(t.numel() for t in _weights(tiny).values())
    json.dumps(told)
    with pytest.raises(ModelError, match="not found"):
        info(tiny.folder / "nowhere")


def _weights(tiny):
    from safetensors.torch import load_file

    return load_file(tiny.folder / "model.safetensors")
