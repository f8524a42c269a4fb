"""What is computed for the pictures that somebody wants, and nothing for the others."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import Frame
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.render import Reconstruction, Renderer, Wanted, draw_view
from autogaze_ros.settings import FILLS, VIEWS, Settings


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fills of the reconstructions that were made, in order."""
    calls: list[str] = []
    update, token_picture = Reconstruction.update, Pipeline.token_picture
    monkeypatch.setattr(Reconstruction, "update", lambda *args: calls.append("source") or update(*args))
    monkeypatch.setattr(
        Pipeline, "token_picture", lambda *args: calls.append("token") or token_picture(*args)
    )
    return calls


@pytest.mark.parametrize(("overlay", "reconstruction"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("fill", FILLS)
def test_a_reconstruction_is_made_only_where_it_shows(
    made: list[str], fill: str, view: str, overlay: bool, reconstruction: bool
):
    frame = Frame(noise(0))
    pipeline = Pipeline(Settings(view=view, reconstruction_fill=fill))
    gaze = pipeline.step(frame)
    shown = Renderer().reconstruct(frame, gaze, pipeline, Wanted(overlay, reconstruction))
    needed = reconstruction or (overlay and view in ("interframe", "side_by_side"))
    assert made == ([fill] if needed else [])
    if needed:
        assert shown is not frame.pixels
    else:
        assert shown is frame.pixels


@pytest.mark.parametrize("view", VIEWS)
def test_the_views_that_need_no_reconstruction_do_not_show_it(make_gaze, view: str):
    frame, gaze, settings = Frame(noise(0)), make_gaze([0, 30, 100], 160, 120), Settings(view=view)
    one, two = (Renderer().draw(frame, gaze, noise(seed), settings) for seed in (1, 2))
    assert np.array_equal(one, two) == (view not in ("interframe", "side_by_side"))


def test_the_settings_say_what_is_drawn_and_it_goes_on_from_frame_to_frame():
    settings = Settings(
        view="interframe", budget=1, mask_style="effective", opacity=0.7, annotate=False, cut_threshold=0.0
    )
    pipeline, renderer, receiver = Pipeline(settings), Renderer(), Reconstruction()
    for index in range(3):
        frame = Frame(noise(index), stamp=index)
        gaze = pipeline.step(frame)
        expected = receiver.update(frame, gaze)
        shown = renderer.reconstruct(frame, gaze, pipeline, Wanted(overlay=True))
        np.testing.assert_array_equal(shown, expected)
        assert index == 0 or not np.array_equal(shown, frame.pixels)
        for view in VIEWS:
            np.testing.assert_array_equal(
                renderer.draw(frame, gaze, shown, settings.replaced({"view": view})),
                draw_view(view, frame, gaze, expected, "effective", 0.7, False),
            )
