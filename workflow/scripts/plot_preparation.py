"""Show how mammograms are prepared, step by step (rule `plot_preparation`)."""

from pathlib import Path

import numpy as np

from segflow.files.cases import Case, read_cases
from segflow.images.mammography import Chain, prepare
from segflow.images.raw_files import read_label_map, read_volume
from segflow.jobs.logs import logged
from segflow.report.case_figures import draw_steps
from segflow.report.drawing import save

N_SHOWN = 4


Images = dict[str, np.ndarray]


def prepare_case(case: Case, raw: Path, reading: dict) -> tuple[Images, Images]:
    """Return the image of a case after each step, and the reference of the first and last one."""
    volume = read_volume(raw / case.images, reading)
    mask = np.zeros(volume.grid.shape, np.uint8)
    if case.label not in ("", "empty"):
        for name in case.label.split(";"):
            mask |= read_label_map(raw / name, volume.grid.shape, reading).array[0] > 0
    side = case.covariates.get("laterality", "") or volume.laterality
    chain = Chain(**reading["mammography"])
    made = prepare(volume.array[0, 0], mask[0], chain, volume.photometric, side, keep_steps=True)
    return made.steps, {"original": mask[0], list(made.steps)[-1]: made.mask}


def main(cases: Path, raw: Path, reading: dict, figure: Path) -> None:
    """Draw the steps of a few of the `cases`, both breasts among them if there are."""
    known = read_cases(cases)
    sides = [[c for c in known if c.covariates.get("laterality") == side] for side in "LR"]
    chosen = [case for pair in zip(*sides, strict=False) for case in pair] or known
    save(draw_steps({c.case: prepare_case(c, raw, reading) for c in chosen[:N_SHOWN]}), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            cases=Path(snakemake.input.cases),
            raw=Path(snakemake.params.raw),
            reading=snakemake.params.reading,
            figure=Path(snakemake.output.figure),
        )
