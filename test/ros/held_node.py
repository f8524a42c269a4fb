"""A gaze_node whose work on an image does not end while a file is there: ``python -m held_node``.

The environment's HELD_BY names the file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from autogaze_ros.ros import node

HELD_BY = Path(os.environ["HELD_BY"])


class HeldPipeline(node.Pipeline):
    """Says when it begins and ends with an image."""

    def step(self, *arguments: Any, **options: Any) -> Any:
        """Work that ends once the file is gone."""
        print("work begins", flush=True)
        while HELD_BY.exists():
            time.sleep(0.02)
        gaze = super().step(*arguments, **options)
        print("work ends", flush=True)
        return gaze


if __name__ == "__main__":
    node.Pipeline = HeldPipeline
    node.main()
