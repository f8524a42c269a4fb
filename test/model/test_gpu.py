"""The CUDA graphs: the reference's ids, and in every way what the plain path does. Needs a CUDA GPU."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.model import AutoGaze, DeviceError, FrameError  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CALLS = ["budget_0.3", "loss_q02", "loss_q10", "loss_q30", "target_392_p14"]
LOSS = -0.4977


@pytest.fixture(scope="module", params=["graphs", "eager"])
def on_gpu(request):
    """Loads a golden folder onto the GPU, once for each way of running it."""
    loaded = {}

    def load(golden):
        if golden.folder not in loaded:
            model = AutoGaze.from_folder(golden.folder, device="cuda", graphs=request.param == "graphs")
            assert model.engine == request.param
            loaded[golden.folder] = model
        return loaded[golden.folder]

    return load


@pytest.fixture(scope="module")
def graphs(tiny):
    model = AutoGaze.from_folder(tiny.folder, device="cuda")
    assert model.engine == "graphs"
    return model


def noise(count, seed=0, size=(32, 40)):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def same(one, two, values=2e-5):
    assert one.ids.tolist() == two.ids.tolist()
    assert one.padded.tolist() == two.padded.tolist()
    assert (one.frame, one.blocks) == (two.frame, two.blocks)
    np.testing.assert_allclose(one.confidence, two.confidence, atol=values)
    np.testing.assert_allclose(one.predicted_loss, two.predicted_loss, atol=values)


@pytest.mark.parametrize("name", ["tiny", "full"])
@pytest.mark.parametrize("call", CALLS)
def test_clip_is_the_references(on_gpu, name, call, request):
    golden = request.getfixturevalue(name)
    if call not in golden.settings:
        pytest.skip("not among the calls of this folder")
    model = on_gpu(golden)
    settings = {
        key: value for key, value in golden.settings[call].items() if key not in ("streaming", "frames")
    }
    pixels = model.preprocess(list(golden.tensors["frames_rgb"]))[None]
    if f"{call}.pixel_values" in golden.tensors:
        pixels = golden.tensors[f"{call}.pixel_values"][None]
    clip = model.generate(pixels, **settings)
    assert clip.gazing_pos.equal(golden.tensors[f"{call}.gazing_pos"])
    assert clip.if_padded_gazing.equal(golden.tensors[f"{call}.if_padded_gazing"].bool())
    for scale, mask in enumerate(clip.gazing_mask):
        assert mask.equal(golden.tensors[f"{call}.gazing_mask.{scale}"].float())
    if f"{call}.log_action_probs" in golden.tensors:
        log_probs, losses = model.teacher_forced(pixels, clip)
        wanted = golden.tensors
        torch.testing.assert_close(log_probs, wanted[f"{call}.log_action_probs"], atol=1e-4, rtol=0)
        torch.testing.assert_close(losses, wanted[f"{call}.task_loss_prediction"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_stream_is_the_references_and_the_cpus(on_gpu, name, request):
    golden = request.getfixturevalue(name)
    settings = {k: v for k, v in golden.settings["stream_q10"].items() if k != "streaming"}
    stream, cpu = on_gpu(golden).stream(**settings), golden.model.stream(**settings)
    gazes = []
    for frame in golden.tensors["frames_rgb"]:
        gazes.append(stream.step(frame.numpy()))
        same(gazes[-1], cpu.step(frame.numpy()))
    ids = np.concatenate([gaze.ids for gaze in gazes])
    assert ids.tolist() == golden.tensors["stream_q10.gazing_pos"][0].tolist()


def test_pixels_are_the_cpus(graphs, tiny):
    for size in ((32, 40), (224, 224), (448, 448), (1080, 1920), (225, 224), (100, 3000)):
        frame = noise(1, size=size)[0]
        wanted = tiny.model.preprocess([frame])[0]
        for picture, bgr in (
            (frame, False),
            (frame[..., ::-1], True),
            (torch.from_numpy(frame).cuda(), False),
        ):
            torch.testing.assert_close(graphs._prepare([picture], bgr)[0].cpu(), wanted, atol=2e-6, rtol=0)
            torch.testing.assert_close(graphs.preprocess([picture], bgr)[0].cpu(), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("policy", ["slide", "restart"])
def test_batch_of_any_ages_and_sizes_is_each_alone_on_the_cpu(graphs, tiny, policy):
    settings = [(0.3, LOSS, 3), (0.1, None, 2), (1.0, -0.2, 5), (0.02, LOSS, 1), (0.75, 100.0, 16)]
    sizes = [(32, 40), (32, 40), (50, 60), (224, 224), (32, 40)]
    alone = [tiny.model.stream(ratio, loss, window, policy) for ratio, loss, window in settings]
    batch = [graphs.stream(ratio, loss, window, policy) for ratio, loss, window in settings]
    frames = [noise(16, seed=i, size=size) for i, size in enumerate(sizes)]
    for i, (one, other) in enumerate(zip(alone, batch, strict=True)):
        for t in range(2 * i):
            same(one.step(frames[i][t]), other.step(frames[i][t]))
    for t in range(8, 16):
        together = graphs.step(batch, [frames[i][t] for i in range(5)])
        for i, gaze in enumerate(together):
            same(gaze, alone[i].step(frames[i][t]))


def test_ever_new_numbers_of_streams_keep_few_graphs(tiny):
    from autogaze_ros.model.graphs import MOST_GRAPHS

    model = AutoGaze.from_folder(tiny.folder, device="cuda")
    model.warm_up((5,), (32, 40))
    batch, alone = ([m.stream(0.1, LOSS, window=3) for _ in range(20)] for m in (model, tiny.model))
    frame = noise(21)
    for n in range(1, 21):
        gazes = model.step(batch[:n], [frame[n]] * n)
        for gaze, stream in zip(gazes, alone, strict=False):
            same(gaze, stream.step(frame[n]))
    assert sorted(model._generator._batches) == [1, 2, 3, 4, 5, 6, 8, 12, 16, 24]
    assert len(model._generator._batches) <= MOST_GRAPHS


def test_long_stream_with_changing_settings(graphs, tiny):
    fast, slow = graphs.stream(0.1, window=4), tiny.model.stream(0.1, window=4)
    dice = np.random.default_rng(3)
    for frame in noise(40, seed=9):
        ratio = float(dice.choice([0.004, 0.02, 0.1, 0.5, 1.0]))
        loss = dice.choice([None, -0.8, -0.5, -0.3, 0.5])
        settings = {"gazing_ratio": ratio, "task_loss_requirement": loss}
        same(fast.step(frame, **settings), slow.step(frame, **settings))
        assert fast.tokens_remembered == slow.tokens_remembered


def test_the_ten_millionth_frame(graphs):
    aged, old = (graphs.stream(0.3, LOSS, window=3) for _ in range(2))
    aged._context.position, old._context.position = 1_000 * 200, 10_000_000 * 200
    for frame in noise(7):
        same(aged.step(frame), old.step(frame), 2e-6)


def test_memory_does_not_grow(graphs):
    stream = graphs.stream(0.3, LOSS, window=3)
    frames = noise(8)
    for frame in frames:
        stream.step(frame)
    before = torch.cuda.memory_allocated()
    for frame in frames * 3:
        stream.step(frame)
    assert torch.cuda.memory_allocated() == before


def test_a_process_that_allows_tf32_gets_the_same(graphs, tiny, monkeypatch):
    frames = noise(3)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    fast, slow = graphs.stream(0.3, LOSS), tiny.model.stream(0.3, LOSS)
    for frame in frames:
        same(fast.step(frame), slow.step(frame))


def test_another_thread_may_use_the_gpu_during_capture(tiny):
    stop, failed = threading.Event(), []

    def work():
        try:
            while not stop.is_set():
                torch.randn(64, 64, device="cuda").sum().item()
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        model = AutoGaze.from_folder(tiny.folder, device="cuda")
        model.warm_up((1, 2, 3), (32, 40))
    finally:
        stop.set()
        thread.join()
    assert not failed
    same(model.stream(0.1).step(noise(1)[0]), tiny.model.stream(0.1).step(noise(1)[0]))


def test_without_kernels_the_plain_path_is_taken(tiny, monkeypatch):
    def broken(*_args):
        raise DeviceError("NVRTC is not found")

    monkeypatch.setattr("autogaze_ros.model.graphs.Kernels", broken)
    model = AutoGaze.from_folder(tiny.folder, device="cuda")
    assert model.engine == "eager (NVRTC is not found)"
    same(model.stream(0.1).step(noise(1)[0]), tiny.model.stream(0.1).step(noise(1)[0]))


def test_too_little_memory_is_named_and_survived(graphs):
    with pytest.raises(DeviceError, match=r"memory.*shorten"):
        graphs.stream(0.1, window=10**7)
    stream, frame = graphs.stream(0.1), noise(1)[0]
    first = stream.step(frame)
    with pytest.raises(FrameError, match="reset"):
        stream.step(noise(1, size=(9, 9))[0])
    stream.reset()
    same(stream.step(frame), first)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("use_graphs", [True, False])
def test_smaller_types_agree_for_the_most_part(tiny, dtype, use_graphs):
    model = AutoGaze.from_folder(tiny.folder, device="cuda", dtype=dtype, graphs=use_graphs)
    wanted = tiny.tensors["budget_0.3.gazing_pos"][0]
    pixels = model.preprocess(list(tiny.tensors["frames_rgb"]))[None]
    chosen = model.generate(pixels, 0.3).gazing_pos[0]
    agreement = len(set(chosen.tolist()) & set(wanted.tolist())) / len(wanted)
    print(f"{dtype}, graphs {use_graphs}: {agreement:.1%} of the ids are float32's")
    assert agreement > 0.5
