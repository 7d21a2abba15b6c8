"""Leases of folders: one job at a time writes to a folder, on whatever host it runs.

A lease is a small file beside the folder that names its owner. The owner renews its time as long as
it lives. This needs nothing from the file system but that a file is created only once, so it holds
on a file server, too. Whether another host's owner lives is seen by watching the file change; the
clocks of two hosts are never compared.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import psutil

HEARTBEAT_SECONDS = 15.0
SILENCE_SECONDS = 180.0  # a file server may show changes a minute late
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Owner:
    """A process that holds a lease.

    Parameters
    ----------
    host : str
        Name of its host.
    place : str
        Where its number means something: this boot of this host, this container.
    pid : int
        Its number.
    started : str
        When it started, in the system's own count; another process may get its number later.
    since : str
        When it took the lease, for people to read.
    token : str
        Tells this lease from any other.
    """

    host: str
    place: str
    pid: int
    started: str
    since: str
    token: str

    @property
    def boot(self) -> str:
        """Which start of the host the process belongs to; empty where the system does not say."""
        return " ".join(self.place.split()[1:2])

    def is_alive(self) -> bool:
        """Say whether the process runs; it must belong to this place."""
        started = process_start(self.pid)
        if started is None:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                return True  # some systems hide the processes of other users
        return started == self.started


def process_start(pid: int) -> str | None:
    """Return when a process started, in the system's own count, or None if it does not run."""
    if sys.platform != "linux":
        try:
            return str(psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None
    # Not by psutil: its times move with the clock of the system.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def this_process() -> Owner:
    """Return this process as an owner."""
    host = socket.gethostname()
    place = [host]
    if sys.platform == "linux":
        place += [Path("/proc/sys/kernel/random/boot_id").read_text().strip()]
        place += [os.readlink("/proc/self/ns/pid")]
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    pid = os.getpid()
    return Owner(host, " ".join(place), pid, process_start(pid), since, uuid4().hex)


@contextmanager
def held(
    folder: Path, heartbeat: float = HEARTBEAT_SECONDS, silence: float = SILENCE_SECONDS
) -> Iterator[None]:
    """Hold the lease of a folder for a block.

    The lease lies beside the folder, which may be removed and made anew meanwhile. If another job
    takes it, which can happen only when this process stood still for `silence`, this process ends
    at once: it must not write any more.

    Parameters
    ----------
    folder : Path
        The folder; it need not exist.
    heartbeat : float
        Seconds between two signs of life.
    silence : float
        Seconds without a sign of life after which the job of another host counts as dead.

    Raises
    ------
    RuntimeError
        If a living job holds the lease.
    """
    path = folder.with_name(f"{folder.name}.lease")
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = this_process()
    while not (_create(path, mine) or _take_over(path, mine, heartbeat, silence)):
        pass
    ended = Event()
    beating = Thread(target=_beat, args=(path, mine, ended, heartbeat), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if _token(path) == mine.token:
            path.unlink(missing_ok=True)


def _create(path: Path, mine: Owner) -> bool:
    """Make the lease this process's own; return False if there is one."""
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            json.dump(asdict(mine), file)
    except OSError:  # no room
        path.unlink()
        raise
    return True


def _look(path: Path) -> tuple[Owner | None, int] | None:
    """Return the owner and the time of a lease, or None without a lease.

    The file is opened each time, for then a file server shows it as it is. The owner is None in a
    lease that is torn or being written.
    """
    try:
        with path.open() as file:
            beat = os.fstat(file.fileno()).st_mtime_ns
            return Owner(**json.load(file)), beat
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None, beat


def _token(path: Path) -> str | None:
    found = _look(path)
    return found[0].token if found and found[0] else None


def _take_over(path: Path, mine: Owner, heartbeat: float, silence: float) -> bool:
    """Take the lease of a dead owner; return False if another look is needed.

    Raises
    ------
    RuntimeError
        If the owner lives.
    """
    found = _look(path)
    if found is None:
        return False
    owner, _ = found
    who = "an unknown process"
    if owner:
        who = f"process {owner.pid} on {owner.host} since {owner.since}"
    if owner and owner.place == mine.place:
        alive, seen = owner.is_alive(), "it runs"
    else:
        print(
            f"{path}: held by {who}; watching for a sign of life for up to {silence:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        now = _wait_for_change(path, found, heartbeat, silence)
        if now is None or now[0] != owner:
            return False
        alive, seen = now != found, "its sign of life was seen just now"
    if alive:
        raise RuntimeError(
            f"{path}: the folder is in use by {who} ({seen}); wait for it, or stop it and run again"
        )
    print(f"{path}: left by {who}, which is gone; taken over", flush=True)
    if _token(path) != (owner.token if owner else None):
        return False
    ours = path.with_name(f".{path.name}.{mine.token}")
    _create(ours, mine)
    ours.replace(path)
    # Another job may have replaced it in the same instant: the last one keeps it.
    time.sleep(SETTLE_SECONDS)
    return _token(path) == mine.token


def _wait_for_change(path: Path, found: tuple, heartbeat: float, silence: float) -> tuple | None:
    """Return what a lease has become after a change, or after some time without one."""
    end = time.monotonic() + silence
    while (now := _look(path)) == found and time.monotonic() < end:
        time.sleep(heartbeat / 15)
    return now


def _beat(path: Path, mine: Owner, ended: Event, heartbeat: float) -> None:
    """Renew the time of the lease until the end; without the lease end the process at once."""
    while not ended.wait(heartbeat):
        try:
            if _token(path) == mine.token:
                os.utime(path)
                continue
        except OSError:
            continue  # a file server that does not answer may do so later
        print(f"{path}: taken by another job; this one stops at once", file=sys.stderr, flush=True)
        # Nothing may be written any more, no checkpoint either.
        os._exit(1)
