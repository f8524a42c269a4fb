"""Whatever keeps the model from loading is a SourceError with its remedy: greedy can stand in then."""

import builtins
from collections.abc import Callable
from pathlib import Path

import pytest

from autogaze_ros.gaze.sources import SourceError
from autogaze_ros.gaze.sources.autogaze import AutoGazeSource
from autogaze_ros.pipeline import make_source
from autogaze_ros.resources import model_folder
from autogaze_ros.settings import Settings

NO_KERNEL = RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")


@pytest.fixture
def import_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Makes the import of a package, or of a relative module, raise."""
    true_import = builtins.__import__

    def begin(name: str, error: Exception) -> None:
        def replaced(wanted, *arguments, **named):
            if wanted == name:
                raise error
            return true_import(wanted, *arguments, **named)

        monkeypatch.setattr(builtins, "__import__", replaced)

    return begin


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("torch", ModuleNotFoundError("No module named 'torch'", name="torch"), "pip install 'torch>=2.4'"),
        (
            "torch",
            OSError("libcudart.so.12: cannot open shared object file"),
            "libcudart.so.12.*install a build",
        ),
        ("torch", ImportError("libcublas.so.11: cannot open"), "libcublas.so.11.*install a build"),
    ],
)
def test_torch_that_does_not_load(import_fails, name, error, words) -> None:
    import_fails(name, error)
    with pytest.raises(SourceError, match=words):
        AutoGazeSource(Path("/no/such"))


def test_a_package_that_the_network_needs_is_missing(import_fails) -> None:
    pytest.importorskip("torch", reason="torch comes from pip only")
    import_fails("model", ModuleNotFoundError("No module named 'safetensors'", name="safetensors.torch"))
    with pytest.raises(SourceError, match="pip install safetensors"):
        AutoGazeSource(Path("/no/such"))


@pytest.mark.parametrize("step", ["from_folder", "warm_up", "stream"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_failure_of_any_kind_while_loading(monkeypatch, step: str, device: str) -> None:
    torch = pytest.importorskip("torch", reason="torch comes from pip only")
    pytest.importorskip("safetensors", reason="safetensors comes from pip only")
    from autogaze_ros.model import AutoGaze

    def fail(*arguments, **named):
        raise NO_KERNEL

    if step != "from_folder":  # the weights stay on the CPU, as there may be no GPU here
        load = AutoGaze.from_folder
        monkeypatch.setattr(
            AutoGaze,
            "from_folder",
            lambda folder, device, *rest, **named: load(folder, "cpu", *rest, **named),
        )
    monkeypatch.setattr(AutoGaze, step, fail)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    with pytest.raises(SourceError, match=f"on {device}: RuntimeError: CUDA error: no kernel") as caught:
        AutoGazeSource(model_folder("builtin"))
    assert "\n" not in str(caught.value)
    assert ("device:=cpu" in str(caught.value)) == (device == "cuda")


def test_the_home_of_nobody_is_a_folder_that_there_is_not() -> None:
    pytest.importorskip("torch", reason="torch comes from pip only")
    pytest.importorskip("safetensors", reason="safetensors comes from pip only")
    with pytest.raises(SourceError, match="~nouser/m"):
        make_source(Settings(source="autogaze", model="~nouser/m"))
