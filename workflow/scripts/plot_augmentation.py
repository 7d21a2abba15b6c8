"""Show patches before and after a model's augmentation (rule `plot_augmentation`)."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from segflow.files.content import read_own_json
from segflow.jobs.logs import logged
from segflow.models.nnunet import use_folders
from segflow.models.training_patches import draw_training_patches
from segflow.report.case_figures import draw_steps
from segflow.report.drawing import save

N_PATCHES = 6


def main(plans: Path, nnunet_name: str, fold: int | str, results: Path, figure: Path) -> None:
    """Draw patches of the training cases of a fold; of volumes the slice with most foreground."""
    use_folders(results)
    with TemporaryDirectory() as scratch:
        made = read_own_json(plans)
        pairs = draw_training_patches(nnunet_name, made, fold, N_PATCHES, Path(scratch))
    shown = {}
    for number, pair in enumerate(pairs):
        images, foregrounds = {}, {}
        for step, image, foreground in zip(
            ("patch", "augmented"), pair.images, pair.foregrounds, strict=True
        ):
            if image.ndim == 3:
                middle = int(np.argmax(foreground.sum((1, 2))))
                image, foreground = image[middle], foreground[middle]
            images[step], foregrounds[step] = image, foreground
        shown[f"{number + 1}: {pair.case}"] = (images, foregrounds)
    save(draw_steps(shown), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            plans=Path(snakemake.input.plans),
            nnunet_name=snakemake.params.nnunet_name,
            fold=snakemake.params.fold,
            results=Path(snakemake.params.results),
            figure=Path(snakemake.output.figure),
        )
