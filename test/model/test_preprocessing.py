"""Pixels as the published model saw them."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.model.config import read_preprocessor  # noqa: E402
from autogaze_ros.model.errors import FrameError  # noqa: E402
from autogaze_ros.model.preprocessing import (  # noqa: E402
    as_tensor,
    coefficients,
    preprocess,
    resize,
    resize_by_products,
    to_square,
)

SIZES = [(224, 224), (448, 448), (480, 640), (1080, 1920), (231, 225), (100, 80), (1, 1), (223, 1000), (3, 7)]


def picture(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_golden_pixel_values(name, request):
    golden = request.getfixturevalue(name)
    wanted = golden.tensors["pixel_values"]
    made = golden.model.preprocess(list(golden.tensors["frames_rgb"][: len(wanted)]))
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)


def test_both_resizes_of_the_released_run(birds, tiny):
    av = pytest.importorskip("av", reason="decodes the two pictures")
    from safetensors.torch import load_file

    run = load_file(birds / "fixture_outputs.safetensors")
    config = replace(tiny.model.preprocessor, height=None, width=None, shortest_edge=224)
    for i in range(2):
        with av.open(str(birds / f"frame_0{i}.png")) as file:
            frame = next(file.decode(video=0)).to_ndarray(format="rgb24")
        pixels = preprocess(as_tensor(frame), config)
        torch.testing.assert_close(pixels, run["video"][0, i], atol=1e-5, rtol=0)
        torch.testing.assert_close(to_square(pixels, 224), run["gazing_model_video"][0, i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(224, 224), (112, 300)])
def test_a_gpus_resize_is_that_of_the_cpu_to_the_last_grey_level(size, target):
    frame = torch.from_numpy(picture(*size))
    wanted = resize(frame, *target)
    assert wanted.dtype == torch.uint8
    torch.testing.assert_close(resize_by_products(frame, *target), wanted, check_dtype=False, rtol=0, atol=0)


@pytest.mark.parametrize(("size", "target"), [(1080, 224), (223, 224), (7, 224), (4000, 224)])
def test_each_outputs_weights_make_one(size, target):
    _, weights = coefficients(size, target)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1) / 2**22, 1, atol=1e-5)


def test_a_part_of_a_resized_picture_keeps_its_pixels():
    frame = torch.from_numpy(picture(480, 640))
    wanted = resize_by_products(frame, 224, 298)[62:162, 99:199].to(torch.uint8)
    for _ in range(20):
        part = resize(frame, 224, 298)[62:162, 99:199]
        others = [np.ones((224, 298, 3), np.uint8) for _ in range(4)]  # in the memory of what was let go
        assert part.equal(wanted), len(others)


def test_a_flat_picture_stays_flat():
    for level in (0, 1, 127, 255):
        frame = torch.full((1080, 1920, 3), level, dtype=torch.uint8)
        assert (resize(frame, 224, 224) == level).all()
        assert (resize_by_products(frame, 224, 224) == level).all()


def test_bgr_is_rgb_with_its_channels_exchanged(tiny):
    frame = picture(300, 400)
    config = tiny.model.preprocessor
    rgb = preprocess(torch.from_numpy(frame), config)
    bgr = preprocess(as_tensor(frame[..., ::-1]), config, bgr=True)
    assert rgb.equal(bgr)


def test_read_only_and_strided_frames_are_taken_as_they_are(tiny, recwarn):
    frame = picture(300, 400)
    wanted = tiny.model.preprocess([frame])
    locked = frame.copy()
    locked.flags.writeable = False
    assert tiny.model.preprocess([locked]).equal(wanted)
    assert as_tensor(locked).data_ptr() == locked.ctypes.data
    wide = np.zeros((300, 800, 3), np.uint8)
    wide[:, ::2] = frame
    assert tiny.model.preprocess([wide[:, ::2]]).equal(wanted)
    assert not recwarn.list


def test_shortest_edge_keeps_the_aspect_and_crop_takes_the_middle(tiny):
    config = replace(tiny.model.preprocessor, height=None, width=None, shortest_edge=224)
    assert preprocess(torch.from_numpy(picture(480, 640)), config).shape == (3, 224, 298)
    assert preprocess(torch.from_numpy(picture(640, 480)), config).shape == (3, 298, 224)
    cropped = replace(config, crop=(224, 224))
    whole = preprocess(torch.from_numpy(picture(480, 640)), config)
    assert preprocess(torch.from_numpy(picture(480, 640)), cropped).equal(whole[:, :, 37:261])
    with pytest.raises(FrameError, match="crop_size"):
        preprocess(torch.from_numpy(picture(480, 640)), replace(config, crop=(300, 300)))


def test_steps_that_are_off_are_left_out(tiny):
    plain = replace(
        tiny.model.preprocessor, do_resize=False, scale=1.0, offset=0.0, mean=(0, 0, 0), std=(1, 1, 1)
    )
    frame = picture(50, 60)
    np.testing.assert_array_equal(
        preprocess(torch.from_numpy(frame), plain).numpy(), frame.transpose(2, 0, 1)
    )


def test_tiny_reads_its_preprocessor(tiny):
    config = read_preprocessor(tiny.folder)
    assert (config.height, config.width, config.offset) == (224, 224, -1.0)
