"""Find images of a data set that are nearly the same (rule `find_near_duplicates`)."""

from functools import partial
from pathlib import Path

import numpy as np

from segflow.datasets.near_duplicates import (
    Fingerprint,
    find_duplicates,
    fingerprint,
    write_pairs,
)
from segflow.datasets.sources import SourceCase, find_cases, record_sources
from segflow.files.content import file_sha256, write_json
from segflow.images.raw_files import read_volume
from segflow.jobs.logs import logged
from segflow.jobs.workers import map_cases
from segflow.report.case_figures import draw_pairs
from segflow.report.drawing import save

N_SHOWN = 12


def fingerprint_case(case: SourceCase, reading: dict, mirrored: bool) -> Fingerprint | None:
    """Return what is compared of the first channel of an image.

    It is None if conversion will refuse it or it shows nothing: blank images are all alike.
    """
    try:
        array = read_volume(case.images[0], reading).array[0]
    except (ValueError, OSError):
        return None
    if len(array) != 1:
        raise ValueError(f"{case.images[0]}: near_duplicates is for 2D images only")
    return None if array.min() == array.max() else fingerprint(array[0], mirrored)


def main(
    raw: Path, dataset: dict, state: str, workers: int, pairs: Path, figure: Path, sources: Path
) -> None:
    """Write the pairs among all images below `raw`, and show those that are most in doubt."""
    options = dataset["near_duplicates"]
    cases = find_cases(dataset, raw).cases
    work = partial(fingerprint_case, reading=dataset["reading"], mirrored=options["mirrored"])
    results = map_cases(work, cases, workers, "near-duplicates")
    prints = {case.case: found for case, found in results if found is not None}
    classes = {case.case: case.class_label for case in cases}
    found = find_duplicates(prints, classes, options["max_distance"], options["min_correlation"])
    write_pairs(pairs, found)
    images = {case.case: case.images[0] for case in cases}

    def image(name: str) -> np.ndarray:
        return read_volume(images[name], dataset["reading"]).array[0, 0]

    # Those to look at: half of the figure for the least similar pairs, the rest for those of
    # different classes.
    doubtful = sorted(found, key=lambda pair: (pair.correlation, pair.case))
    chosen = [pair for pair in doubtful if pair.contradicts][: N_SHOWN // 2]
    chosen += [pair for pair in doubtful if pair not in chosen][: N_SHOWN - len(chosen)]
    shown = [
        (p.case, image(p.case), f"{p.other} (r {p.correlation:.2f})", image(p.other), p.contradicts)
        for p in chosen
    ]
    save(draw_pairs(shown), figure)
    sha256 = {path: file_sha256(path) for case in cases for path in case.files if path.is_file()}
    if all(path in sha256 for case in cases for path in case.files):
        write_json(sources, {"state": state, **record_sources(raw, cases, sha256)})
    else:
        write_json(sources, {})  # conversion will name the missing files


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            raw=Path(snakemake.params.raw),
            dataset=snakemake.params.dataset,
            state=snakemake.params.state,
            workers=snakemake.threads,
            pairs=Path(snakemake.output.pairs),
            figure=Path(snakemake.output.figure),
            sources=Path(snakemake.output.sources),
        )
