"""The overlay of a frame that is a tensor."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes from pip only")

from autogaze_ros.gaze import Frame  # noqa: E402
from autogaze_ros.render import draw_overlay  # noqa: E402
from autogaze_ros.render.tensors import overlay_tensor  # noqa: E402


@pytest.mark.parametrize("style", ["native", "deduplicated", "effective"])
def test_a_tensor_gets_the_overlay_of_an_array(make_gaze, style: str):
    picture = np.random.default_rng(0).integers(0, 256, (240, 333, 3), np.uint8)
    gaze = make_gaze([0, 30, 264, 100, 5], 333, 240)
    drawn = overlay_tensor(torch.from_numpy(picture), gaze, style, 0.4)
    expected = draw_overlay(Frame(picture), gaze, style, 0.4, annotate=False)
    assert np.abs(drawn.numpy().astype(int) - expected).max() <= 1


def test_a_tensor_of_another_size_is_refused(make_gaze):
    with pytest.raises(ValueError, match="tensor"):
        overlay_tensor(torch.zeros((240, 332, 3), dtype=torch.uint8), make_gaze([0], 333, 240))
