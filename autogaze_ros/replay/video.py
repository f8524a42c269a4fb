"""Pictures to a video file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


class VideoWriter:
    """One H.264 file in which every picture has the size of the first. Use as a context manager.

    Args:
        path: of the file; its suffix names the container.
        rate: pictures a second.
    """

    def __init__(self, path: Path, rate: float = 30.0) -> None:
        import av

        self._av: Any = av
        self._rate = Fraction(rate).limit_denominator(1001)
        self._container = av.open(str(path), "w")
        self._stream: Any = None
        #: pictures so far
        self.count = 0

    def write(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Append a (H, W, 3) BGR picture, or one with transparency, of which the colours count.

        Returns:
            The picture at the size of the video.
        """
        picture = np.ascontiguousarray(picture[:, :, :3])
        if self._stream is None:
            # The number of threads shows in the bytes, so it is not left to the machine.
            options = {"crf": "20", "preset": "veryfast", "threads": "2"}
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
            # H.264 with subsampled colour needs even sides.
            self._stream.height = max(2, picture.shape[0] // 2 * 2)
            self._stream.width = max(2, picture.shape[1] // 2 * 2)
            self._stream.pix_fmt = "yuv420p"
        size = (self._stream.width, self._stream.height)
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size)
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        self._container.mux(self._stream.encode(frame))
        self.count += 1
        return picture

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
