"""Training in several processes, one for each GPU, as nnU-Net divides a batch between them."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import distributed

from segflow.jobs.interruption import SIGNALS, Interrupted
from segflow.jobs.processes import die_with_parent, end_cleanly


def run_ranks(n_ranks: int, backend: str, work: Callable, arguments: tuple) -> None:
    """Call a function in several processes that train together.

    A signal to this process reaches all of them. They end when it ends.

    Parameters
    ----------
    n_ranks : int
        Number of processes.
    backend : {'nccl', 'gloo'}
        How they talk to each other: with a GPU each, or on the CPU.
    work : callable
        Takes `arguments` and the device; a function of a module, for it is found by its name.
    arguments : tuple
        Values that can be pickled.

    Raises
    ------
    Interrupted
        If a signal stopped the training; the checkpoint has been written.
    """
    interruption = multiprocessing.get_context("spawn").SimpleQueue()
    received: list[int] = []

    def forward(number, frame):
        received.append(number)
        for child in multiprocessing.active_children():
            os.kill(child.pid, number)

    handlers = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        with TemporaryDirectory() as folder:
            meeting = Path(folder, "meeting")
            given = (n_ranks, backend, meeting, interruption, work, arguments)
            ranks = torch.multiprocessing.spawn(_run_rank, given, n_ranks, join=False)
            if received:  # before the last process was there
                forward(received[-1], None)
            while not ranks.join():
                pass
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if not interruption.empty():
        raise Interrupted(interruption.get())


def _run_rank(
    rank: int,
    n_ranks: int,
    backend: str,
    meeting: Path,
    interruption: SimpleQueue,
    work: Callable,
    arguments: tuple,
) -> None:
    """Do the work of one process; `meeting` is a file by which they find each other."""
    end_cleanly()
    die_with_parent()
    torch.set_num_threads(1)
    # All processes are on this host, so none needs to listen to others.
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    store = distributed.FileStore(str(meeting), n_ranks)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=n_ranks)
    try:
        work(*arguments, device)
    except Interrupted as error:
        if rank == 0:
            interruption.put(str(error))
    distributed.destroy_process_group()
