"""What a data worker does beside its work: it ends with the process that started it, and leaves signals to that one.

A worker of PyTorch's loader notices only between two examples that its parent is gone, and then waits for ever until
somebody takes what it has made: it holds the reading end of its own pipe, so the pipe never breaks.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_S = 1.0
_tied: set[int] = set()


@contextmanager
def starting() -> Iterator[None]:
    """To start workers in: a signal that would stop them before they are tied waits until they are."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tie(worker: int = 0) -> None:
    """To be called in a worker: it is killed when its parent ends, however that ends.

    Ctrl-C, SIGTERM and SIGHUP reach a whole process group or job; the run wants to finish its step and needs its
    workers for that, so they heed their parent's alone (where the system says who sent one, else SIGTERM kills).
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.getpid() in _tied:
        return
    _tied.add(os.getpid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heard = _STOPS - {signal.SIGINT} if hasattr(signal, "sigtimedwait") else set()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS - heard)
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)  # the watch takes them
    _ask_kernel()
    threading.Thread(target=_watch, args=(parent, heard), name="watch of the parent", daemon=True).start()


def _ask_kernel() -> None:
    """On Linux the kernel kills at once; elsewhere, and if the parent has just gone, the watch does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(parent: Any, heard: set[signal.Signals]) -> None:
    """Ends this process with its parent, or at its word."""
    while parent.is_alive():
        if heard:
            found = signal.sigtimedwait(heard, _LOOK_S)
            if found is not None and found.si_pid == parent.pid:
                break
        else:
            parent.join(_LOOK_S)
    os._exit(0)
