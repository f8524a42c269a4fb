"""A thread that works on the newest item only, so that overload costs frames and never adds delay."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Calls ``work`` on its own thread with the newest item handed in; an item not yet begun gives way to a newer one.

    Args:
        work: called with one item at a time. What it raises is printed, and the next item is worked on.
        name: of the thread, as debuggers show it.
    """

    def __init__(self, work: Callable[[Item], None], name: str) -> None:
        self._work = work
        self._pending: list[Item] = []
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> bool:
        """Hand in an item; returns whether an older one gave way to it."""
        with self._changed:
            displaced = bool(self._pending)
            self._pending[:] = [item]
            self._changed.notify()
        return displaced

    def stop(self) -> bool:
        """Begin no further item; returns whether one was waiting and is given up. :meth:`ended` waits for the rest."""
        with self._changed:
            waiting = bool(self._pending)
            self._pending.clear()
            self._stopping = True
            self._changed.notify()
        return waiting

    def ended(self, patience: float) -> bool:
        """Whether, once stopped, the item in work ended within so many seconds: it may hang for good."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._stopping)
                if self._stopping:
                    return
                item = self._pending.pop()
            try:
                self._work(item)
            except Exception:  # one item's fault must not end the work on all that follow
                traceback.print_exc()
