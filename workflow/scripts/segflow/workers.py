"""Work on many cases in a few processes, with progress."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import psutil
from tqdm import tqdm

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
    start-up cost. The first error stops the rest; pairs that were yielded before stay valid.

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
        If a worker was killed, as the system does when memory runs out.
    """
    if workers == 1 or len(items) <= 1:
        for item in tqdm(items, desc=what, unit="case", mininterval=5):
            yield item, function(item)
        return
    context = multiprocessing.get_context(START_METHOD)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(function, item): item for item in items}
        try:
            for future in tqdm(
                as_completed(futures), total=len(items), desc=what, unit="case", mininterval=5
            ):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise MemoryError(
                f"{what}: one of {workers} workers was killed, most likely because memory ran "
                "out; give the rule more memory or fewer threads and run again (finished cases "
                "are kept)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
