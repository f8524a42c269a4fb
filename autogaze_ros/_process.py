"""Settings of a whole program: its entries import this before NumPy. Libraries don't.

What the user has set in the environment stays.
"""

import ctypes
import os

# The matrix products here are small. Spread over threads, they wait for a core that the camera driver or
# the middleware holds, and a frame of 3 ms takes 10.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# PyTorch's threads on the CPU otherwise spin for long where the cores are shared, waiting for one another.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def keep_large_buffers() -> None:
    """Let the C library keep freed buffers of image size for the next image.

    By default it gives each back to the kernel and asks for it anew, page by page: at 1920 x 1080 that
    costs more than all copies of the image together. Other C libraries than glibc are left as they are.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_threshold, 32 << 20)  # the largest that glibc takes
    mallopt(trim_threshold, 512 << 20)


if not any(
    name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
):
    keep_large_buffers()
