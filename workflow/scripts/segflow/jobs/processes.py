"""How long-running commands end: cleanly when they are told to, and together with their workers."""

import ctypes
import os
import signal
import sys

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_cleanly() -> None:
    """Let SIGTERM and SIGUSR1 end this process as an exception does, so that leases are returned.

    Forked workers leave these signals and SIGINT, which a terminal sends to all, to this process.
    They end when it ends, even when it is killed.
    """
    for number in STOPPING:
        signal.signal(number, _exit)
    os.register_at_fork(after_in_child=_become_worker)


def _exit(number, frame):
    sys.exit(128 + number)


def _become_worker() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent stops its workers by it
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()


def die_with_parent() -> None:
    """Let the system kill this process when its parent ends; without effect on macOS."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
