"""Whole clips: batches, ratios a frame, sampling, other grids, and what is refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.model import DeviceError, SettingError  # noqa: E402
from autogaze_ros.model.clip import TargetGrid, assemble  # noqa: E402
from autogaze_ros.model.generation import Gaze, Generator  # noqa: E402
from autogaze_ros.model.reference import Reference  # noqa: E402
from autogaze_ros.model.rotary import FLOAT32_POSITIONS, Rotary, rotate  # noqa: E402


@pytest.fixture(scope="module")
def pixels(tiny):
    frames = np.random.default_rng(5).integers(0, 256, (3, 4, 32, 40, 3), dtype=np.uint8)
    return torch.stack([tiny.model.preprocess(list(clip)) for clip in frames])


@pytest.mark.parametrize(
    ("ratio", "loss"), [(0.03, None), (0.3, -0.6), (0.75, -0.3), (1.0, 0.0), (0.5, 100.0)]
)
def test_fast_path_is_the_plain_one(tiny, pixels, ratio, loss):
    plain = Reference(tiny.folder)
    clip = tiny.model.generate(pixels[:1], ratio, loss)
    ids, padded, losses = [], [], []
    for t in range(4):
        one = plain.step(pixels[0, t], tiny.model.config.budget(ratio), loss)
        ids += [i + 265 * t for i in one[0]]
        padded += one[1]
        losses += one[2]
    assert clip.gazing_pos[0].tolist() == ids
    assert clip.if_padded_gazing[0].tolist() == padded
    np.testing.assert_allclose(clip.predicted_loss[0], losses, atol=1e-5)


def test_a_batch_of_clips_is_each_alone(tiny, pixels):
    batch = tiny.model.generate(pixels, 0.2, -0.5)
    for b in range(3):
        alone = tiny.model.generate(pixels[b : b + 1], 0.2, -0.5)
        for mask, one in zip(batch.gazing_mask, alone.gazing_mask, strict=True):
            assert mask[b].equal(one[0])
        real = ~batch.predicted_loss[b].isnan()
        assert batch.gazing_pos[b, real].equal(alone.gazing_pos[0])
        assert batch.if_padded_gazing[b, real].equal(alone.if_padded_gazing[0])
        assert batch.if_padded_gazing[b, ~real].all()
        assert (batch.gazing_pos[b, ~real] % 265 == 0).all()
    log_probs, losses = tiny.model.teacher_forced(pixels, batch)
    assert log_probs.isnan().equal(batch.predicted_loss.isnan())
    assert losses.isnan().equal(batch.predicted_loss.isnan())
    with pytest.raises(SettingError, match="not one of these"):
        tiny.model.teacher_forced(pixels[:2], batch)


def test_fields_by_name_and_shape(tiny, pixels):
    clip = tiny.model.generate(pixels, gazing_ratio=0.1)
    assert (
        clip["gazing_pos"].shape == clip["if_padded_gazing"].shape == clip["confidence"].shape == (3, 4 * 26)
    )
    assert clip["num_gazing_each_frame"].tolist() == [26] * 4
    assert [mask.shape for mask in clip["gazing_mask"]] == [(3, 4, cells) for cells in (4, 16, 49, 196)]
    assert (clip["scales"], clip["num_vision_tokens_each_frame"]) == ((32, 64, 112, 224), 265)
    with pytest.raises(KeyError):
        clip["nothing"]


def test_a_ratio_for_each_frame(tiny, pixels):
    clip = tiny.model.generate(pixels[:1], [0.75, 0.02, 0.02, 0.1])
    assert clip.num_gazing_each_frame.tolist() == [198, 5, 5, 26]
    with pytest.raises(SettingError, match="2 entries for 4 frames"):
        tiny.model.generate(pixels[:1], [0.75, 0.02])
    with pytest.raises(SettingError, match="gazing_ratio"):
        tiny.model.generate(pixels[:1], [0.75, 0.02, 0.0, 0.1])


def test_sampling_is_repeatable_and_follows_the_temperature(tiny, pixels):
    def draw(**settings):
        return tiny.model.generate(pixels[:1], 0.1, do_sample=True, **settings).gazing_pos.tolist()

    best = tiny.model.generate(pixels[:1], 0.1).gazing_pos.tolist()
    assert draw(seed=1) == draw(seed=1)
    assert draw(seed=1) != draw(seed=2)
    assert draw(seed=1, temperature=1e-4) == best
    assert draw(seed=1, temperature=10.0) != best
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="temperature"):
            draw(temperature=temperature)


def test_pixel_values_of_another_size_are_resized(tiny, pixels):
    larger = torch.nn.functional.interpolate(pixels[0], size=(300, 200), mode="bilinear")[None]
    assert tiny.model.generate(larger, 0.05).num_gazing_each_frame.tolist() == [13] * 4


@pytest.mark.parametrize("wrong", [
    torch.zeros(1, 2, 3, 224, 224, dtype=torch.uint8), torch.zeros(2, 3, 224, 224), torch.zeros(1, 2, 1, 224, 224),
    torch.zeros(0, 2, 3, 224, 224), np.zeros((1, 2, 3, 224, 224), np.float32),
])  # fmt: skip
def test_other_things_than_pixel_values_are_refused(tiny, wrong):
    with pytest.raises(SettingError, match="pixel_values"):
        tiny.model.generate(wrong, 0.1)


def test_tiles_of_a_larger_picture(tiny):
    pixels = torch.randn(2, 2, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    clip = tiny.model.generate(pixels, 0.05, target_scales=[40, 80, 140, 300], target_patch_size=20)
    cells = [2**2, 4**2, 7**2, 15**2]
    assert [mask.shape for mask in clip.gazing_mask] == [(2, 2, count) for count in cells]
    assert clip.num_vision_tokens_each_frame == sum(cells)
    for b in range(2):
        kept = clip.gazing_pos[b][~clip.if_padded_gazing[b]]
        assert kept.equal(kept.sort().values)
        assert len(kept) == sum(int(mask[b].sum()) for mask in clip.gazing_mask)
    with pytest.raises(SettingError, match="grid"):
        tiny.model.teacher_forced(pixels, clip)


def keep_step(plain: Reference, block: list[int], blocks: int) -> None:
    """Feed back the last block of a tile that is done before others, as the published code's batch does."""
    slots = plain.config.decoder.num_multi_token_pred
    # All decode steps of a frame sit on the last positions of its prefill, behind which full blocks followed.
    first = sum(plain.attention_mask) - blocks * slots
    seen = [not padded for _, padded in plain.pending]
    plain.attention_mask += [True] * len(block)
    embedding = plain.weights["gaze_decoder.model.embed_tokens.weight"]
    plain._decoder(embedding[block], torch.arange(first, first + len(block)))
    plain.attention_mask[-len(block) :] = seen
    plain.pending = []


def tiles_one_by_one(folder, pixels, grid: TargetGrid, budget: int, loss: float):
    """The gazes of each tile of (1, T, 3, H, W), and the blocks that they took."""
    tiles = grid.cut(pixels)
    plain = [Reference(folder) for _ in tiles]
    slots = plain[0].config.decoder.num_multi_token_pred
    gazes: list[list[Gaze]] = [[] for _ in tiles]
    blocks = []
    for t in range(pixels.shape[1]):
        for one, tile, found in zip(plain, tiles, gazes, strict=True):
            ids, padded, losses = one.step(tile[t], budget, loss)
            ones = np.ones(len(ids), np.float32)
            found.append(Gaze(np.array(ids), np.array(padded), ones, np.array(losses, np.float32), t, 0))
        blocks.append([-(-len(found[t].ids) // slots) for found in gazes])
        for one, count in zip(plain, blocks[-1], strict=True):
            if count < max(blocks[-1]):
                keep_step(one, [i for i, _ in one.pending], count)
    return gazes, blocks


def test_tiles_with_a_threshold_keep_step_as_in_the_reference(tiny, monkeypatch):
    config, loss = tiny.model.config, -0.35
    # Tiles of the network's own size, so that no resize comes between.
    scales, patch = [64, 128, 224, 448], 16
    pixels = torch.randn(1, 4, 3, 448, 448, generator=torch.Generator().manual_seed(3))
    grid = TargetGrid.of(config, scales, patch)
    gazes, blocks = tiles_one_by_one(tiny.folder, pixels, grid, config.budget(0.3), loss)
    assert all(min(counts) < max(counts) for counts in blocks[:-1]), (
        "nothing is tested unless some are done early"
    )
    wanted = grid.join(assemble(gazes, config.scales, [side**2 for side in config.grids]), config)

    def generated():
        return tiny.model.generate(pixels, 0.3, loss, target_scales=scales, target_patch_size=patch)

    clip = generated()
    assert clip.gazing_pos.equal(wanted.gazing_pos)
    for mask, other in zip(clip.gazing_mask, wanted.gazing_mask, strict=True):
        assert mask.equal(other)
    monkeypatch.setattr(Generator, "_keep_step", lambda *_: None)
    other = generated().gazing_pos
    assert other.shape != clip.gazing_pos.shape or not other.equal(clip.gazing_pos), "it makes a difference"


@pytest.mark.parametrize("call", ["generate", "teacher_forced"])
def test_too_little_memory_for_a_clip_says_what_to_do(tiny, pixels, monkeypatch, call):
    clip = tiny.model.generate(pixels, 0.1)

    def fail(*_args, **_kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(tiny.model.vision), "__call__", fail)
    with pytest.raises(DeviceError, match=r"with 3 clips of 4 frames .*fewer or shorter"):
        tiny.model.generate(pixels, 0.1) if call == "generate" else tiny.model.teacher_forced(pixels, clip)


@pytest.mark.parametrize(("scales", "patch", "what"), [
    ([56, 112, 392], 14, "4 sizes"), ([56, 112, 196, 390], 14, "multiples"), ([56, 112, 196, 392], None, "together"),
    ([56, 112, 196, 392], 14, "392 x 392"), ([140, 112, 196, 224], 14, "target scale 140"),
])  # fmt: skip
def test_grids_that_do_not_fit_are_refused(tiny, pixels, scales, patch, what):
    with pytest.raises(SettingError, match=what):
        tiny.model.generate(pixels, 0.1, target_scales=scales, target_patch_size=patch)


def test_angles_keep_their_digits_for_ever(tiny):
    rotary = Rotary(tiny.model.config.decoder.rope, 16, torch.device("cpu"))
    near = torch.arange(5000)
    wanted = near.double()[:, None] * rotary.frequency.double()
    for base in (FLOAT32_POSITIONS, 10**6, 2 * 10**9, 10**15):
        angle = rotary(near + base).to(torch.complex128).angle()
        turned = angle - angle[:1]
        error = (turned - wanted + torch.pi) % (2 * torch.pi) - torch.pi
        assert error.abs().max() < 1e-6


def test_early_angles_are_the_references(tiny):
    rotary = Rotary(tiny.model.config.decoder.rope, 16, torch.device("cpu"))
    positions = torch.arange(FLOAT32_POSITIONS)
    angle = positions[:, None].float() * rotary.frequency
    torch.testing.assert_close(rotary(positions), torch.complex(angle.cos(), angle.sin()), atol=2e-7, rtol=0)


def test_rotation_keeps_lengths_and_depends_on_differences(tiny):
    rotary = Rotary(tiny.model.config.decoder.rope, 16, torch.device("cpu"))
    query, key = torch.randn(2, 1, 1, 16, generator=torch.Generator().manual_seed(1)).unbind(0)

    def score(p, q):
        return (rotate(query, rotary(torch.tensor([p]))) * rotate(key, rotary(torch.tensor([q])))).sum()

    torch.testing.assert_close(score(10**9 + 700, 10**9), score(9000 + 700, 9000), atol=1e-5, rtol=0)
    torch.testing.assert_close(rotate(query, rotary(torch.tensor([123]))).norm(), query.norm())
