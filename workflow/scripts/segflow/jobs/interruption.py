"""The signals that ask a training to stop, and what it raises when it has."""

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(Exception):
    """Training was asked to stop by a signal and has written its checkpoint.

    Parameters
    ----------
    reason : str
        The signal, for people.
    """

    @classmethod
    def by(cls, number: int) -> "Interrupted":
        """Return the interruption by a signal."""
        return cls(f"stopped by {signal.Signals(number).name}")
