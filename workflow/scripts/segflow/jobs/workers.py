"""Work on many cases in a few processes, with progress."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import psutil
from tqdm import tqdm

from segflow.files.ledger import Ledger
from segflow.jobs.processes import die_with_parent

# Workers that are forked share what this process has imported and start at once. macOS cannot
# fork safely.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def count_workers(threads: int, memory_mb: float, case_mb: float, n_cases: int) -> int:
    """Return how many cases to handle at a time.

    Parameters
    ----------
    threads : int
        Threads that the job may use.
    memory_mb : float
        Memory that the job may use, in MB.
    case_mb : float
        Memory that the largest case needs, in MB.
    n_cases : int
        Number of cases.

    Returns
    -------
    int
        At least 1, at most `threads`, and not more than fit into the memory that the job may use
        and that is free.
    """
    free_mb = min(memory_mb, psutil.virtual_memory().available / 1e6)
    return max(1, min(threads, n_cases, int(free_mb // max(case_mb, 1))))


def map_cases(
    function: Callable[[Any], Any], items: Sequence[Any], workers: int, what: str
) -> Iterator[tuple[Any, Any]]:
    """Call `function` on each item and yield (item, result) pairs as they finish.

    With one worker everything happens in this process. Otherwise workers are forked, at no
    start-up cost. The first error stops the rest; pairs that were yielded before stay valid. When
    a worker is killed, as the system does when memory runs out, half as many go on with what is
    not finished.

    Parameters
    ----------
    function : callable
        A function of one item that can be pickled.
    items : sequence
        The items, one for each case.
    workers : int
        Number of processes.
    what : str
        Caption of the progress bar.

    Raises
    ------
    MemoryError
        If a worker was killed while it was the only one.
    """
    progress = partial(tqdm, total=len(items), desc=what, unit="case", mininterval=5)
    if workers == 1 or len(items) <= 1:
        for item in progress(items):
            yield item, function(item)
        return
    with progress() as bar:
        waiting = dict(enumerate(items))
        while waiting:
            try:
                for number, result in _map_in_pool(function, waiting, workers):
                    bar.update()
                    yield waiting.pop(number), result
            except BrokenProcessPool:
                workers = fewer_workers(workers, what)


def fewer_workers(workers: int, what: str) -> int:
    """Return how many workers go on after one of them was killed, and print why.

    Raises
    ------
    MemoryError
        If it was the only one.
    """
    # The kernel counts in kB, that of macOS in bytes.
    largest = getrusage(RUSAGE_CHILDREN).ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)
    free = psutil.virtual_memory().available / 1e6
    who = f"one of {workers} workers" if workers > 1 else "the only worker"
    found = (
        f"{what}: {who} was killed, most likely because memory ran out (a worker took up to "
        f"{largest:.0f} MB, {free:.0f} MB are free)"
    )
    if workers == 1:
        raise MemoryError(
            f"{found}; let the rule ask for more (--set-resources RULE:mem_mb=...) or use a "
            "machine with more memory, and run again: finished cases are kept"
        ) from None
    print(f"{found}; {workers // 2} go on with what is not finished", flush=True)
    return workers // 2


def _map_in_pool(
    function: Callable[[Any], Any], items: dict[int, Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """Call `function` on each item in worker processes and yield (number, result) pairs."""
    context = multiprocessing.get_context(START_METHOD)
    # Left behind, a worker would wait for ever for its next item.
    with ProcessPoolExecutor(workers, context, initializer=die_with_parent) as pool:
        futures = {pool.submit(function, item): number for number, item in items.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def finish_cases(
    folder: Path,
    keys: dict[str, str],
    items: dict[str, Any],
    work: Callable[[tuple[str, Any]], list[Path]],
    workers: int,
    what: str,
) -> None:
    """Do a step's work for every case that is not finished; the rest is left as it is.

    Parameters
    ----------
    folder : Path
        Folder of the step's files. Those of other cases are removed.
    keys : dict of str to str
        Key of everything that the files of each case are made from.
    items : dict of str to object
        What the work on each case needs, and nothing more: it travels to a worker.
    work : callable
        Takes a case's name and item, and returns the files that it wrote into `folder`.
    workers : int
        Number of processes.
    what : str
        Name of the step, for the progress.
    """
    ledger = Ledger(folder)
    ledger.prune(keys)
    waiting = ledger.waiting(keys)
    print(f"{what}: {len(keys) - len(waiting)} of {len(keys)} cases are finished", flush=True)
    todo = [(case, items[case]) for case in waiting]
    for (case, _), files in map_cases(work, todo, workers, what):
        ledger.enter(case, keys[case], files)
