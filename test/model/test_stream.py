"""A stream: bounded, exact at any age, and the same alone as in a batch."""

import gc
import math
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.model import AutoGaze, DeviceError, FrameError, ModelError, SettingError  # noqa: E402

LOSS = -0.4977


def same(one, two, values=1e-5):
    assert one.ids.tolist() == two.ids.tolist()
    assert one.padded.tolist() == two.padded.tolist()
    np.testing.assert_allclose(one.confidence, two.confidence, atol=values)
    np.testing.assert_allclose(one.predicted_loss, two.predicted_loss, atol=values)


def noise(count, seed=0, size=(32, 40)):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def test_what_a_step_returns(tiny, frames):
    gaze = tiny.model.stream(0.3, LOSS).step(frames[0])
    slots = len(gaze.ids)
    assert (gaze.ids.dtype, gaze.padded.dtype) == (np.int64, bool)
    assert gaze.confidence.shape == gaze.predicted_loss.shape == gaze.padded.shape == (slots,)
    assert (gaze.ids[gaze.padded] == 265).all()
    assert (gaze.ids[~gaze.padded] < 265).all()
    assert (gaze.confidence[gaze.padded] == 0).all()
    assert ((gaze.confidence[~gaze.padded] > 0) & (gaze.confidence <= 1)[~gaze.padded]).all()
    assert len(set(gaze.kept)) == len(gaze.kept)
    assert (gaze.frame, gaze.blocks) == (0, math.ceil(slots / 4))
    assert not gaze.padded[0]


def test_all_ids_once_at_ratio_one(tiny, frames):
    gaze = tiny.model.stream(1.0).step(frames[0])
    assert sorted(gaze.ids) == list(range(265))
    assert gaze.confidence[-1] == 1.0  # there was nothing else left


@pytest.mark.parametrize("policy", ["slide", "restart"])
def test_batch_of_streams_of_any_age_is_each_alone(tiny, policy):
    model, frames = tiny.model, noise(12)
    settings = [(0.3, LOSS, 3), (0.1, None, 2), (0.75, -0.2, 5), (0.02, LOSS, 1)]
    alone = [model.stream(ratio, loss, window, policy) for ratio, loss, window in settings]
    batch = [model.stream(ratio, loss, window, policy) for ratio, loss, window in settings]
    for i, (one, other) in enumerate(zip(alone, batch, strict=True)):  # ages 0, 2, 4, 6
        for frame in frames[: 2 * i]:
            one.step(frame)
            other.step(frame)
    for t in range(6, 12):
        together = model.step(batch, [frames[(t + i) % 12] for i in range(4)])
        for i, gaze in enumerate(together):
            same(gaze, alone[i].step(frames[(t + i) % 12]))


def test_memory_is_bounded_and_stays_where_it_is(tiny):
    stream = tiny.model.stream(0.75, window=3)
    history = stream._context.history
    size, addresses = stream.nbytes(), (history.keys.data_ptr(), history.values.data_ptr())
    tokens = []
    for frame in noise(12):
        stream.step(frame)
        tokens.append(stream.tokens_remembered)
        assert stream.frames_remembered <= 3
    assert stream.nbytes() == size
    assert (history.keys.data_ptr(), history.values.data_ptr()) == addresses
    assert history.keys is stream._context.history.keys
    assert max(tokens[3:]) == min(tokens[3:]) == 2 * (196 + 198) + 196 + 196  # the last block enters later


def test_no_tensor_is_left_behind_by_a_frame(tiny):
    stream = tiny.model.stream(0.1, LOSS, window=2)
    frames = noise(12)
    for frame in frames[:6]:
        stream.step(frame)
    gc.collect()
    before = sum(type(thing) is torch.Tensor for thing in gc.get_objects())
    for frame in frames:
        stream.step(frame)
    gc.collect()
    assert sum(type(thing) is torch.Tensor for thing in gc.get_objects()) == before


def test_a_slid_window_is_what_it_was(tiny):
    """Dropping the oldest frame changes nothing else: ids and values match a mask over a longer history."""
    frames = noise(5)
    short, long = tiny.model.stream(0.1, window=3), tiny.model.stream(0.1, window=8)
    for frame in frames[:3]:
        same(short.step(frame), long.step(frame))
    history = long._context.history
    for frame in frames[3:]:
        gone = history.frames[0]  # forget by hand in the long one what the short one drops by itself
        history.drop_oldest_frame()
        assert gone > 196
        same(short.step(frame), long.step(frame), 1e-6)


def test_restart_is_a_fresh_stream_every_window_frames(tiny):
    frames = noise(7)
    stream = tiny.model.stream(0.1, LOSS, window=3, policy="restart")
    for begin in (0, 3, 6):
        fresh = tiny.model.stream(0.1, LOSS, window=3)
        for frame in frames[begin : begin + 3]:
            same(stream.step(frame), fresh.step(frame), 0)


@pytest.mark.parametrize("frame", [2_000, 10_000_000, 4_000_000_000])
def test_the_ten_millionth_frame_is_as_exact_as_the_thousandth(tiny, frame):
    """Positions of a stream of 200 tokens a frame, shifted as a whole, change no id and no value."""
    frames = noise(7)
    aged, old = (tiny.model.stream(0.3, LOSS, window=3) for _ in range(2))
    aged._context.position = 1_000 * 200
    old._context.position = frame * 200
    for picture in frames:
        same(aged.step(picture), old.step(picture), 2e-6)


def test_reset_begins_anew_with_any_size(tiny):
    stream = tiny.model.stream(0.1, LOSS)
    first = stream.step(noise(1)[0])
    stream.step(noise(1, seed=1)[0])
    stream.reset()
    assert (stream.frame_size, stream.frames_remembered, stream.tokens_remembered) == (None, 0, 0)
    stream.step(noise(1, size=(50, 60))[0])
    stream.reset()
    same(stream.step(noise(1)[0]), first, 0)


def test_settings_change_between_frames_and_for_one_frame(tiny):
    stream = tiny.model.stream(0.1)
    frames = iter(noise(8))
    assert len(stream.step(next(frames)).ids) == 26
    assert len(stream.step(next(frames), gazing_ratio=0.5).ids) == 132  # a keyframe
    assert len(stream.step(next(frames)).ids) == 26
    stream.gazing_ratio = 0.02
    assert len(stream.step(next(frames)).ids) == 5
    stream.task_loss_requirement = 100.0  # everything but the first slot is good enough
    gaze = stream.step(next(frames))
    assert gaze.padded.tolist() == [False, True, True, True]
    assert len(stream.step(next(frames), task_loss_requirement=None).ids) == 5
    assert stream.task_loss_requirement == 100.0


def test_defaults_come_from_the_model(tiny):
    stream = tiny.model.stream()
    assert (stream.gazing_ratio, stream.window, stream.policy) == (0.75, 16, "slide")
    assert stream.task_loss_requirement is None
    assert tiny.model.config.default_task_loss_requirement == 0.7


def test_tensors_and_bgr_are_frames_too(tiny):
    frame = noise(1)[0]
    wanted = tiny.model.stream(0.1).step(frame)
    same(tiny.model.stream(0.1).step(torch.from_numpy(frame)), wanted, 0)
    same(tiny.model.stream(0.1).step(frame[..., ::-1], bgr=True), wanted, 0)


@pytest.mark.parametrize(("frame", "what"), [
    (np.zeros((32, 40), np.uint8), r"grey"), (np.zeros((32, 40, 4), np.uint8), r"RGB"),
    (np.zeros((32, 40, 3), np.float32), r"uint8.*float32"), (np.zeros((0, 40, 3), np.uint8), r"pixel"),
    ([[1, 2, 3]], r"array"), (torch.zeros(32, 40, 3), r"uint8"), (None, r"array"),
    (np.zeros((16, 40, 3), np.uint8), r"16 x 40.*32 x 40.*reset"),
])  # fmt: skip
def test_a_bad_frame_is_refused_and_the_stream_goes_on(tiny, frame, what):
    frames = noise(3)
    stream, other = tiny.model.stream(0.1, LOSS), tiny.model.stream(0.1, LOSS)
    same(stream.step(frames[0]), other.step(frames[0]))
    with pytest.raises(FrameError, match=what):
        stream.step(frame)
    with pytest.raises(FrameError, match=what):
        tiny.model.step([tiny.model.stream(0.1), stream], [frames[0], frame])
    same(stream.step(frames[1]), other.step(frames[1]), 0)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.0001, float("nan"), "0.5", True, [0.5]])
def test_a_ratio_outside_its_range_is_refused(tiny, ratio):
    stream = tiny.model.stream(0.1)
    for wrong in (lambda: tiny.model.stream(ratio), lambda: stream.step(noise(1)[0], gazing_ratio=ratio),
                  lambda: setattr(stream, "gazing_ratio", ratio)):  # fmt: skip
        with pytest.raises(SettingError, match="gazing_ratio"):
            wrong()
    assert stream.gazing_ratio == 0.1
    assert stream.frames_remembered == 0


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), "0.7", True])
def test_a_threshold_that_is_no_number_is_refused(tiny, loss):
    stream = tiny.model.stream(0.1)
    for wrong in (lambda: tiny.model.stream(0.1, loss), lambda: stream.step(noise(1)[0], task_loss_requirement=loss),
                  lambda: setattr(stream, "task_loss_requirement", loss)):  # fmt: skip
        with pytest.raises(SettingError, match="task_loss_requirement"):
            wrong()


@pytest.mark.parametrize("window", [0, -1, 2.5, True, "16"])
def test_a_window_below_one_is_refused(tiny, window):
    with pytest.raises(SettingError, match="window"):
        tiny.model.stream(0.1, window=window)


def test_other_wrong_calls(tiny):
    stream, frame = tiny.model.stream(0.1), noise(1)[0]
    with pytest.raises(SettingError, match=r"policy.*slide.*restart.*'jump'"):
        tiny.model.stream(0.1, policy="jump")
    with pytest.raises(SettingError, match="2 streams, but 1 frames"):
        tiny.model.step([stream, tiny.model.stream(0.1)], [frame])
    with pytest.raises(SettingError, match="twice"):
        tiny.model.step([stream, stream], [frame, frame])
    with pytest.raises(SettingError, match="another model"):
        AutoGaze.from_folder(tiny.folder, device="cpu").step([stream], [frame])
    with pytest.raises(SettingError, match="dtype"):
        AutoGaze.from_folder(tiny.folder, device="cpu", dtype=torch.float64)
    assert tiny.model.step([], []) == []


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "meta"])
def test_a_device_that_is_not_there(tiny, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU here")
    with pytest.raises(DeviceError, match=r"cuda|device"):
        AutoGaze.from_folder(tiny.folder, device=device)


def test_a_step_that_fails_leaves_a_clean_stream(tiny, monkeypatch):
    frames = noise(3)
    fresh = tiny.model.stream(0.1).step(frames[0])
    stream = tiny.model.stream(0.1)
    stream.step(frames[1])

    def fail(*_args, **_kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(tiny.model._generator, "_prefill", fail)
        with pytest.raises(DeviceError, match=r"ran out of memory.*fewer streams"):
            stream.step(frames[2])
    assert stream.frames_remembered == 0
    same(stream.step(frames[0]), fresh, 0)


def test_numbers_of_streams_are_rounded_up_to_few():
    from autogaze_ros.model.graphs import MOST_GRAPHS, rounded_up

    sizes = [rounded_up(n) for n in range(1, 257)]
    assert sorted(set(sizes)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    assert len(set(sizes)) <= MOST_GRAPHS
    assert all(n <= size < 1.5 * n for n, size in enumerate(sizes, 1))


def test_streams_in_a_batch_that_is_filled_up_get_what_they_get_alone(tiny, monkeypatch):
    """As CUDA graphs want it; here on the plain path."""
    from autogaze_ros.model.graphs import rounded_up

    model, frames = tiny.model, noise(12)
    generator, looked = model._generator, []
    look = generator.look

    def noted(pixels, contexts, requests, together=()):
        assert len(pixels) == len(contexts) == len(requests)
        assert len({id(context) for context in contexts}) == len(contexts)
        looked.append(len(contexts))
        return look(pixels, contexts, requests, together)

    alone = [model.stream(0.1, LOSS, window=3) for _ in range(7)]
    batch = [model.stream(0.1, LOSS, window=3) for _ in range(7)]
    wanted = [[stream.step(frame) for frame in frames] for stream in alone]
    monkeypatch.setattr(generator, "look", noted)
    monkeypatch.setattr(generator, "batch_size", rounded_up)
    ages = [0] * 7
    for chosen in ([0, 1, 2, 3, 4], [5], [0, 2, 4, 5, 6], list(range(7)), [1, 2, 6], [0, 1, 2, 3, 4, 5, 6]):
        gazes = model.step([batch[i] for i in chosen], [frames[ages[i]] for i in chosen])
        assert len(gazes) == len(chosen)
        for i, gaze in zip(chosen, gazes, strict=True):
            same(gaze, wanted[i][ages[i]])
            ages[i] += 1
    assert looked == [6, 1, 6, 8, 3, 8]


def test_scores_that_are_not_finite_are_an_error(tiny):
    model = AutoGaze.from_folder(tiny.folder, device="cpu")
    model.decoder.heads = torch.full_like(model.decoder.heads, float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        model.stream(0.1).step(noise(1)[0])


def test_threads_may_share_a_model(tiny):
    frames = noise(4)
    wanted = [gaze.ids.tolist() for gaze in map(tiny.model.stream(0.05).step, frames)]
    got = [[] for _ in range(3)]

    def run(i):
        stream = tiny.model.stream(0.05)
        got[i] = [stream.step(frame).ids.tolist() for frame in frames]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [wanted] * 3


def test_warm_up_tells_what_it_does(tiny):
    said = []
    tiny.model.warm_up(batch_sizes=(1, 2), frame_size=(32, 40), progress=said.append)
    assert len(said) == 4
    assert "2 streams" in said[2]
    said.clear()
    AutoGaze.from_folder(tiny.folder, device="cpu", progress=said.append)
    assert any("parameters" in line for line in said)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_smaller_types_run(tiny, frames, dtype):
    model = AutoGaze.from_folder(tiny.folder, device="cpu", dtype=dtype)
    stream = model.stream(0.1, LOSS, window=2)
    for frame in frames[:3]:
        gaze = stream.step(frame)
        assert np.isfinite(gaze.predicted_loss).all()
    assert stream.nbytes() == tiny.model.stream(0.1, window=2).nbytes() // 2
