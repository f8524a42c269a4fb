"""Ids, padding, masks and values of the reference implementation, call by call."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

CALLS = ["budget_0.3", "loss_q02", "loss_q10", "loss_q30"]


@pytest.fixture(params=["tiny", "full"])
def golden(request):
    return request.getfixturevalue(request.param)


def arguments(settings):
    return {name: value for name, value in settings.items() if name not in ("streaming", "frames")}


def pixels_of(golden):
    return golden.model.preprocess(list(golden.tensors["frames_rgb"]))[None]


@pytest.mark.parametrize("call", CALLS)
def test_clip_is_the_references(golden, call):
    wanted = golden.tensors
    pixels = pixels_of(golden)
    clip = golden.model.generate(pixels, **arguments(golden.settings[call]))
    assert clip.gazing_pos.equal(wanted[f"{call}.gazing_pos"])
    assert clip.if_padded_gazing.equal(wanted[f"{call}.if_padded_gazing"].bool())
    assert clip.num_gazing_each_frame.equal(wanted[f"{call}.num_gazing_each_frame"])
    for scale, mask in enumerate(clip.gazing_mask):
        assert mask.equal(wanted[f"{call}.gazing_mask.{scale}"].float())
    log_probs, losses = golden.model.teacher_forced(pixels, clip)
    torch.testing.assert_close(log_probs, wanted[f"{call}.log_action_probs"], atol=1e-4, rtol=0)
    torch.testing.assert_close(losses, wanted[f"{call}.task_loss_prediction"], atol=1e-4, rtol=0)


def test_stream_is_the_references_stream_and_clip(golden):
    settings = arguments(golden.settings["stream_q10"])
    frames = [frame.numpy() for frame in golden.tensors["frames_rgb"]]
    stream = golden.model.stream(**settings, window=len(frames))
    gazes = [stream.step(frame) for frame in frames]
    ids = np.concatenate([gaze.ids for gaze in gazes])
    padded = np.concatenate([gaze.padded for gaze in gazes])
    assert ids.tolist() == golden.tensors["stream_q10.gazing_pos"][0].tolist()
    assert padded.tolist() == golden.tensors["stream_q10.if_padded_gazing"][0].bool().tolist()
    assert [len(gaze.ids) for gaze in gazes] == golden.tensors["stream_q10.num_gazing_each_frame"].tolist()

    clip = golden.model.generate(pixels_of(golden), **settings)
    np.testing.assert_allclose(
        np.concatenate([gaze.confidence for gaze in gazes]), clip.confidence[0], atol=1e-5
    )
    np.testing.assert_allclose(np.concatenate([gaze.predicted_loss for gaze in gazes]), clip.predicted_loss[0],
                               atol=1e-5)  # fmt: skip


def test_another_encoders_grid_is_the_references(full):
    settings = arguments(full.settings["target_392_p14"])
    clip = full.model.generate(full.tensors["target_392_p14.pixel_values"][None], **settings)
    assert clip.gazing_pos.equal(full.tensors["target_392_p14.gazing_pos"])
    assert clip.if_padded_gazing.equal(full.tensors["target_392_p14.if_padded_gazing"].bool())
    assert clip.num_gazing_each_frame.equal(full.tensors["target_392_p14.num_gazing_each_frame"])
    for scale, mask in enumerate(clip.gazing_mask):
        assert mask.equal(full.tensors[f"target_392_p14.gazing_mask.{scale}"].float())
    assert clip.num_vision_tokens_each_frame == 16 + 64 + 196 + 784
    assert (clip.confidence > 0).all()


def test_vision_embeddings(golden):
    vision, pixels = golden.model.vision, pixels_of(golden)[0]
    memory = vision.new_memory()
    tokens = torch.cat([vision(pixels[t : t + 1], [memory])[0] for t in range(3)])
    torch.testing.assert_close(tokens, golden.tensors["vision_embeds"], atol=1e-4, rtol=0)


def test_the_released_models_masks_from_its_ids(birds, full):
    """The ids of a real run, two of whose slots are valid after padded ones, give that run's masks."""
    from safetensors.torch import load_file

    from autogaze_ros.model.clip import assemble
    from autogaze_ros.model.generation import Gaze

    run = load_file(birds / "fixture_outputs.safetensors")
    gazes, begin = [], 0
    for t, count in enumerate(run["num_gazing_each_frame"].tolist()):
        here = slice(begin, begin + count)
        begin += count
        ids, padded = (
            run["gazing_pos"][0, here].numpy() - t * 265,
            run["if_padded_gazing"][0, here].bool().numpy(),
        )
        nothing = np.zeros(count, np.float32)
        gazes.append(Gaze(np.where(padded, 265, ids), padded, nothing, nothing, t, 0))
    clip = assemble([gazes], full.model.config.scales, [4, 16, 49, 196])
    for scale, mask in enumerate(clip.gazing_mask):
        assert mask.equal(run[f"gazing_mask_{scale}"])
