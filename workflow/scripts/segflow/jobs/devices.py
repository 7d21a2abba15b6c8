"""Which GPUs this machine has, and leases of them, so that no two jobs get the same one.

Only `choose_device` and `peak_megabytes` import PyTorch. A lease is a small file that its job keeps
locked. The system drops the lock when the job ends, however it ends, so a lease never outlives it.
"""

import fcntl
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from uuid import uuid4

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 1.0
# Not the folder that TMPDIR names: it differs between users and jobs, who must meet here.
LEASES = "/tmp/segflow-gpus"


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that a job on this machine could use.

    ``CUDA_VISIBLE_DEVICES`` counts if it is set, up to the first entry that is no device, as CUDA
    reads it; otherwise the device files do.
    """
    visible = _cuda_names()
    return len(list(Path("/dev").glob("nvidia[0-9]*"))) if visible is None else len(visible)


def _cuda_names() -> list[str] | None:
    """Return the devices that ``CUDA_VISIBLE_DEVICES`` names, or None if it is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return None
    names = [name.strip() for name in visible.split(",")]
    return list(takewhile(re.compile(r"\d+$|GPU-|MIG-").match, names))


def read_listing(text: str) -> list[list[str]]:
    """Return the names in the output of ``nvidia-smi -L``.

    Returns
    -------
    list of list of str
        For each GPU, in the order of its number, the names of its MIG instances; its own name
        if it has none.
    """
    gpus: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if found := re.search(r"UUID: ((?:GPU|MIG)-[^)\s]+)", line):
            if line.startswith("GPU"):
                gpus.append((found[1], []))
            else:
                gpus[-1][1].append(found[1])
    return [instances or [gpu] for gpu, instances in gpus]


def _list_gpus() -> list[list[str]]:
    """Ask ``nvidia-smi`` for the names of all devices; none where it is missing or fails."""
    if shutil.which("nvidia-smi") is None:
        return []
    run = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return read_listing(run.stdout) if run.returncode == 0 else []


def full_name(name: str, listing: list[list[str]]) -> str:
    """Return the one name of a device that may be given by number, name or a name's beginning.

    Parameters
    ----------
    name : str
        As ``CUDA_VISIBLE_DEVICES`` gives it. A number counts as ``nvidia-smi`` numbers devices.
    listing : list of list of str
        See `read_listing`.

    Returns
    -------
    str
        The name that is listed; `name` itself where the listing does not tell.
    """
    if name.isdigit():
        return listing[int(name)][0] if int(name) < len(listing) else name
    found = [full for gpu in listing for full in gpu if full.startswith(name)]
    return found[0] if len(found) == 1 else name


def find_pool() -> list[str]:
    """Return the devices that jobs of this machine may lease.

    These are the devices of ``CUDA_VISIBLE_DEVICES`` if it is set, else those that
    ``NVIDIA_VISIBLE_DEVICES`` gives a container by name, else all. They carry the names of
    ``nvidia-smi`` where it is there, else their numbers.
    """
    listing = _list_gpus()
    names = _cuda_names()
    if names is None:
        # Numbers there are those of the host; in the container devices are numbered anew.
        given = os.environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",")
        names = [name for name in given if re.fullmatch(r"(GPU|MIG)-[\w/-]+", name)]
        names = names or [name for gpu in listing for name in gpu]
        names = names or [str(number) for number in range(count_gpus())]
    return list(dict.fromkeys(full_name(name, listing) for name in names))


def choose_devices(
    pool: list[str], used: dict[str, Fraction], n_gpus: int, share: int
) -> list[str]:
    """Return the devices for a job, or none if it must wait.

    Parameters
    ----------
    pool : list of str
        Devices to choose from.
    used : dict of str to Fraction
        Leased part of each device, up to 1.
    n_gpus : int
        Devices that the job needs.
    share : int
        Jobs like it that fit on one device.
    """
    free = [name for name in pool if used.get(name, Fraction(0)) + Fraction(1, share) <= 1]
    # Jobs that share a device gather, so that whole devices stay free for others.
    free.sort(key=lambda name: used.get(name, Fraction(0)), reverse=True)
    return free[:n_gpus] if len(free) >= n_gpus else []


@contextmanager
def leased_devices(n_gpus: int = 1, share: int = 1) -> Iterator[list[str]]:
    """Hold devices for a block, and let CUDA see only them.

    The block must be entered before CUDA is used for the first time. While all devices are leased
    the job waits.

    Parameters
    ----------
    n_gpus : int
        Number of devices, at least 1.
    share : int
        Jobs like this one that fit on one device, at least 1.

    Yields
    ------
    list of str
        The devices; empty on a machine that has none.

    Raises
    ------
    RuntimeError
        If the machine has some devices, but fewer than `n_gpus`.
    """
    pool = find_pool()
    if not pool:
        yield []
        return
    if len(pool) < n_gpus:
        raise RuntimeError(
            f"{n_gpus} GPUs are needed, found {len(pool)} ({', '.join(pool)}); set n_gpus of the "
            "model, or CUDA_VISIBLE_DEVICES"
        )
    devices, descriptor, path = _wait_for_lease(pool, n_gpus, share)
    held = [descriptor]
    # A worker that is forked would keep the lock after this process was killed.
    os.register_at_fork(after_in_child=lambda: [os.close(number) for number in held])
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    _say(f"GPU: {', '.join(devices)}", sys.stdout)
    try:
        yield devices
    finally:
        held.clear()
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _wait_for_lease(pool: list[str], n_gpus: int, share: int) -> tuple[list[str], int, Path]:
    """Return the leased devices, and the lease as a locked file."""
    folder = Path(os.environ.get("SEGFLOW_GPU_LEASES", LEASES))
    # What a batch system gives one job is no business of its other jobs: it may let them share a
    # device, or give the same number to different devices.
    scope = os.environ.get("SLURM_JOB_ID", "")
    started = time.monotonic()
    waited = False
    while True:
        with _locked_folder(folder):
            others = [lease for lease in read_leases(folder) if lease["scope"] == scope]
            used: dict[str, Fraction] = {}
            for lease in others:
                for name in lease["devices"]:
                    used[name] = used.get(name, Fraction(0)) + Fraction(1, lease["share"])
            if devices := choose_devices(pool, used, n_gpus, share):
                facts = {"scope": scope, "devices": devices, "share": share}
                descriptor, path = _write_lease(folder, facts)
                if waited:
                    seconds = time.monotonic() - started
                    _say(f"waited {seconds:.0f} s for a GPU", sys.stderr)
                return devices, descriptor, path
        if not waited:
            holders = ", ".join(
                f"{' '.join(lease['devices'])} by process {lease['pid']} of user {lease['user']}"
                for lease in others
                if set(lease["devices"]) & set(pool)
            )
            _say(f"waiting for a GPU; leased: {holders}", sys.stderr)
            waited = True
        time.sleep(POLL_SECONDS)


def _say(text: str, file: TextIO) -> None:
    """Print a line in one piece: standard output and error meet in one log."""
    print(f"{text}\n", end="", file=file, flush=True)


def read_leases(folder: Path) -> list[dict]:
    """Return the leases of jobs that are alive, and remove those of others where allowed.

    Parameters
    ----------
    folder : Path
        Folder of the leases.

    Returns
    -------
    list of dict
        For each job its ``devices``, ``share``, ``scope``, ``pid``, ``user`` (a number) and
        ``since`` (seconds since 1970).
    """
    leases = []
    for path in sorted(folder.glob("*.json")):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            leases.append(json.loads(os.read(descriptor, 1 << 16)))
        except PermissionError:
            pass  # a dead lease of another user
        finally:
            os.close(descriptor)
    return leases


def _write_lease(folder: Path, facts: dict) -> tuple[int, Path]:
    """Write a lease and return it as a locked file and its path."""
    facts = {**facts, "pid": os.getpid(), "user": os.getuid(), "since": time.time()}
    path = folder / f"{os.getpid()}-{uuid4().hex}.json"
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.fchmod(descriptor, 0o644)  # whatever the umask, other users must see who holds a device
    os.write(descriptor, json.dumps(facts).encode())
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    partial.rename(path)
    return descriptor, path


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Keep out, for an instant, all others who would lease devices.

    The folder is open to all users, but no one can remove the files of another.
    """
    while True:
        mask = os.umask(0)
        try:
            folder.mkdir(mode=0o1777, exist_ok=True)
        finally:
            os.umask(mask)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # the system has not just tidied it away
                yield
                return
        finally:
            os.close(descriptor)


def choose_device(wanted: str) -> "torch.device":
    """Return the device to work on.

    Parameters
    ----------
    wanted : {'auto', 'cuda', 'cpu', 'mps'}
        ``auto`` takes a GPU if there is one.

    Raises
    ------
    RuntimeError
        If a GPU is demanded and there is none.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next((name for name, there in available.items() if there), "cpu")
    elif not available.get(wanted, True):
        raise RuntimeError(f"device is {wanted!r}, but PyTorch finds none here; use auto or cpu")
    return torch.device(wanted)


def device_name(device: "torch.device") -> str:
    """Return the name of a GPU, or the architecture of the processor."""
    if device.type != "cuda":
        return platform.machine()
    import torch

    return torch.cuda.get_device_name()


def forget_peak(kind: str) -> None:
    """Let `peak_megabytes` count from here, on CUDA and where the system is Linux.

    Parameters
    ----------
    kind : str
        Kind of the device.
    """
    if kind == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): forget the peak of resident memory


def peak_megabytes(device: str) -> float:
    """Return the most memory that this process has used, in MB: of its GPU, if it computes there.

    Parameters
    ----------
    device : str
        Type of the device.
    """
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def may_lease(wanted: str, n_gpus: int = 1, share: int = 1) -> AbstractContextManager:
    """Return a block that holds GPUs, if the wanted device may be one; see `leased_devices`."""
    return leased_devices(n_gpus, share) if wanted in ("auto", "cuda") else nullcontext()
