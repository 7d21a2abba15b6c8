"""Find images of a data set that are nearly the same (rule `find_near_duplicates`)."""

from functools import partial
from pathlib import Path

import numpy as np

from segflow.datasets.near_duplicates import find_pairs, perceptual_hash, write_pairs
from segflow.datasets.sources import SourceCase, find_cases, record_sources
from segflow.files.content import file_sha256, write_json
from segflow.images.raw_files import read_volume
from segflow.jobs.logs import logged
from segflow.jobs.workers import map_cases
from segflow.report.figures import draw_pairs, save

N_SHOWN = 12


def hash_case(case: SourceCase, reading: dict) -> np.ndarray | None:
    """Return the hash of the first channel of an image.

    It is None if conversion will refuse it or it shows nothing: blank images are all alike.
    """
    try:
        array = read_volume(case.images[0], reading).array[0]
    except (ValueError, OSError):
        return None
    if len(array) != 1:
        raise ValueError(f"{case.images[0]}: near_duplicates is for 2D images only")
    return None if array.min() == array.max() else perceptual_hash(array[0])


def main(
    raw: Path, dataset: dict, state: str, workers: int, pairs: Path, figure: Path, sources: Path
) -> None:
    """Write the pairs among all images below `raw`, and show some of those that differ most."""
    cases = find_cases(dataset, raw).cases
    work = partial(hash_case, reading=dataset["reading"])
    results = map_cases(work, cases, workers, "near-duplicates")
    hashes = {case.case: bits for case, bits in results if bits is not None}
    classes = {case.case: case.class_label for case in cases}
    found = find_pairs(hashes, classes, dataset["near_duplicates"]["max_distance"])
    write_pairs(pairs, found)
    images = {case.case: case.images[0] for case in cases}

    def image(name: str) -> np.ndarray:
        return read_volume(images[name], dataset["reading"]).array[0, 0]

    # Doubtful pairs are those to look at: of different classes, and of the largest distance.
    doubtful = sorted(found, key=lambda pair: (not pair.contradicts, -pair.distance, pair.case))
    shown = [
        (p.case, image(p.case), f"{p.other} ({p.distance} bits)", image(p.other), p.contradicts)
        for p in doubtful[:N_SHOWN]
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
