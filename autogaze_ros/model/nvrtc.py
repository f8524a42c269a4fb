"""Compiles CUDA C++ at run time, launches it and captures graphs of it, through NVRTC and the driver alone.

No compiler, headers or Triton need to be installed: PyTorch's CUDA packages and the driver have all of it. Everything
here raises a `DeviceError` where something is missing; the caller then goes on with plain PyTorch.

Graphs are captured by the driver rather than by PyTorch, whose capture holds the process's random generator: a
thread that drew random numbers on the GPU meanwhile would fail.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .errors import DeviceError

_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class Kernels:
    """The `extern "C"` kernels of one source file, compiled for one device."""

    def __init__(self, source: str, macros: Mapping[str, object], device: torch.device) -> None:
        self._device = device
        self._driver = _open("libcuda.so.1")
        major, minor = torch.cuda.get_device_capability(device)
        binary = _compile(source, macros, f"sm_{major}{minor}")
        module = ctypes.c_void_p()
        with torch.cuda.device(device):
            torch.zeros(1, device=device)  # makes this thread's context current
            self._context = ctypes.c_void_p()
            self._check(self._driver.cuCtxGetCurrent(ctypes.byref(self._context)), "asking for the context")
            self._check(self._driver.cuModuleLoadData(ctypes.byref(module), binary), "loading the kernels")
        self._module = module
        self._functions: dict[str, ctypes.c_void_p] = {}

    def launch(self, name: str, grid: tuple[int, int, int], threads: int, arguments: Sequence[Any]) -> None:
        """Put a kernel on PyTorch's current stream.

        Args:
            name: of the kernel.
            grid: blocks in x, y and z.
            threads: of a block.
            arguments: ctypes values (or structures), or tensors, whose addresses are passed.
        """
        if name not in self._functions:
            function = ctypes.c_void_p()
            status = self._driver.cuModuleGetFunction(ctypes.byref(function), self._module, name.encode())
            self._check(status, f"finding kernel {name}")
            self._functions[name] = function
        values = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        status = self._driver.cuLaunchKernel(
            self._functions[name], *grid, threads, 1, 1, 0, self._stream(), pointers, ctypes.c_void_p()
        )
        self._check(status, f"launching kernel {name}")

    def copy(self, to: torch.Tensor, source: torch.Tensor) -> None:
        """Put a copy between the GPU and pinned memory on PyTorch's current stream; both are contiguous."""
        size = ctypes.c_size_t(source.numel() * source.element_size())
        call = self._driver.cuMemcpyHtoDAsync_v2 if to.is_cuda else self._driver.cuMemcpyDtoHAsync_v2
        status = call(
            ctypes.c_void_p(to.data_ptr()), ctypes.c_void_p(source.data_ptr()), size, self._stream()
        )
        self._check(status, "copying")

    def make_current(self) -> None:
        """Give this thread the device's context; a thread that has not yet used CUDA has none."""
        current = ctypes.c_void_p()
        self._driver.cuCtxGetCurrent(ctypes.byref(current))
        if current.value != self._context.value:
            self._check(self._driver.cuCtxSetCurrent(self._context), "entering the context")

    def capture(self, run: Callable[[], None]) -> Graph:
        """Record what `run` puts on the current stream; it runs once before, so that all is loaded by then."""
        run()
        torch.cuda.synchronize(self._device)
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        with torch.cuda.stream(torch.cuda.Stream(self._device)):
            stream = self._stream()
            # Thread-local: another thread's CUDA call during the capture must break neither.
            self._check(self._driver.cuStreamBeginCapture_v2(stream, _THREAD_LOCAL), "beginning a capture")
            try:
                run()
            finally:
                status = self._driver.cuStreamEndCapture(stream, ctypes.byref(graph))
            self._check(status, "ending a capture")
        status = self._driver.cuGraphInstantiateWithFlags(
            ctypes.byref(executable), graph, ctypes.c_ulonglong(0)
        )
        self._driver.cuGraphDestroy(graph)
        self._check(status, "making a graph")
        return Graph(self, executable)

    def _stream(self) -> ctypes.c_void_p:
        if _raw_stream is not None:  # a tenth of the time of making a Stream object
            return ctypes.c_void_p(_raw_stream(self._device.index))
        return ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)

    def _check(self, status: int, doing: str) -> None:
        if status:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(status, ctypes.byref(text))
            raise DeviceError(f"CUDA failed in {doing}: {(text.value or b'unknown error').decode()}")


def integer(value: int) -> ctypes.c_int:
    """An `int` argument of a kernel."""
    return ctypes.c_int(int(value))


class Graph:
    """A captured sequence of kernels and copies."""

    def __init__(self, kernels: Kernels, executable: ctypes.c_void_p) -> None:
        self._kernels, self._executable = kernels, executable
        weakref.finalize(self, kernels._driver.cuGraphExecDestroy, executable)

    def launch(self) -> None:
        """Put the whole of it on PyTorch's current stream."""
        kernels = self._kernels
        kernels._check(
            kernels._driver.cuGraphLaunch(self._executable, kernels._stream()), "launching a graph"
        )


def _compile(source: str, macros: Mapping[str, object], arch: str) -> bytes:
    library = _nvrtc()
    program = ctypes.c_void_p()
    status = library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    if status:
        raise DeviceError(f"NVRTC cannot create a program (status {status})")
    try:
        options = [f"--gpu-architecture={arch}", "--std=c++17"]
        options += [f"-D{name}={value}" for name, value in macros.items()]
        texts = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        if library.nvrtcCompileProgram(program, len(options), texts):
            log = _fetch(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program)
            raise DeviceError(
                f"NVRTC cannot compile the kernels for {arch}: {log.decode(errors='replace')[:2000]}"
            )
        return _fetch(library.nvrtcGetCUBINSize, library.nvrtcGetCUBIN, program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(size_of: Any, get: Any, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    get(program, buffer)
    return buffer.raw


def _nvrtc() -> ctypes.CDLL:
    major = (torch.version.cuda or "0").split(".")[0]
    name = f"libnvrtc.so.{major}"
    # Beside PyTorch's other libraries where pip brought it, else wherever the loader looks.
    found = [str(path) for folder in sys.path if folder
             for path in sorted(Path(folder).glob(f"nvidia/*/lib/{name}"))]  # fmt: skip
    for candidate in [*found, name, "libnvrtc.so"]:
        try:
            return ctypes.CDLL(candidate)
        except OSError:
            continue
    raise DeviceError(f"{name} is not found; it comes with PyTorch's CUDA packages or with the CUDA toolkit")


def _open(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise DeviceError(f"{name} cannot be opened ({error}); is the NVIDIA driver installed?") from error
