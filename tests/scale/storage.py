"""Files and bytes of cases at each stage: of finished results, and of a made-up CT.

Usage: storage.py results RESULTS, or storage.py phantom FOLDER. Prints rows of the table as JSON.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from measure import ROOT

sys.path.insert(0, str(ROOT / "tests/helpers"))
sys.path.insert(0, str(ROOT / "workflow/scripts"))

from segflow.files.cases import read_rows
from segflow.run.status import disk_usage

SHAPE = (128, 256, 256)  # voxels along z, y, x of the made-up CT
PATCH = (128, 128, 128)
NOISE_HU = 15.0
N_CLASSES = 3
# Folders of a data set's stages below the results.
STAGES = {
    "converted images and label maps": "nnUNet_raw/{nnunet_name}",
    "preprocessed cases, all configurations": "nnUNet_preprocessed/{nnunet_name}",
    "probabilities of one model": "{dataset}/{model}/probabilities",
    "label maps of one predictor, both stages": "{dataset}/{model}/predictions",
    "components of one predictor": "{dataset}/{model}/components",
    "evaluation of one predictor": "{dataset}/{model}/evaluation",
}


def measure_results(results: Path) -> list[dict]:
    """Return what each case takes at each stage of every finished data set and model."""
    rows = []
    for table in sorted(results.glob("*/cases.csv")):
        dataset = table.parent.name
        nnunet_name = next((results / "nnUNet_raw").glob(f"Dataset*_{dataset}")).name
        shapes = [row["shape"].split() for row in read_rows(table, ["case"], more=True)]
        n_voxels = sum(math.prod(map(int, shape)) for shape in shapes)
        models = sorted(path.parent.name for path in results.glob(f"{dataset}/*/plans.json"))
        for stage, pattern in STAGES.items():
            for model in models if "{model}" in pattern else [""]:
                names = {"dataset": dataset, "nnunet_name": nnunet_name, "model": model}
                folder = results / pattern.format(**names)
                if not folder.exists():  # made by an older version
                    continue
                size, n_files = disk_usage(folder)
                title = f"{dataset}: {stage}" + (f" ({model})" if model else "")
                rows.append(row(title, len(shapes), "cases", n_files, size, n_voxels))
        for model in models:
            trained = f"nnUNet_results/{nnunet_name}/*__{model}__*/fold_*"
            folds = list(results.glob(trained))
            sizes, counts = zip(*map(disk_usage, folds), strict=True)
            title = f"{dataset}: trained folds ({model})"
            rows.append(row(title, len(folds), "folds", sum(counts), sum(sizes), None))
    return rows


def measure_phantom(folder: Path) -> list[dict]:
    """Return what one CT of smooth organs and noise takes in each format."""
    from nnunetv2.training.dataloading.nnunet_dataset import (
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )
    from scipy.ndimage import gaussian_filter, shift

    from predictions import make_probabilities
    from segflow.images.nifti import SUFFIX, Grid, write_image
    from segflow.images.probabilities import save_probabilities

    folder.mkdir()
    random = np.random.default_rng(1)
    z, y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    body = z * 0 + y**2 / 0.5 + x**2 / 0.8 < 1
    organ = (z**2 + y**2 + (x - 0.4) ** 2) < 0.1
    lesion = (z**2 + y**2 + (x - 0.5) ** 2) < 0.005
    label_map = organ.astype(np.uint8) + lesion
    tissue = np.where(body, 40 + 60 * label_map, -1000).astype(np.float32)
    noise = gaussian_filter(random.standard_normal(SHAPE, np.float32), 0.7)
    image = np.rint(gaussian_filter(tissue, 1) + noise * NOISE_HU / noise.std()).astype(np.int16)

    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    grid = Grid(SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), identity)
    write_image(folder / f"image{SUFFIX}", image, grid)
    write_image(folder / f"label{SUFFIX}", label_map, grid)
    # Resampling leaves no whole numbers behind, which would be small when compressed.
    resampled = shift(image.astype(np.float32), 0.5, order=3, mode="nearest")
    normalised = (resampled - resampled.mean()) / resampled.std()
    blocks, chunks = comp_blosc2_params((1, *SHAPE), PATCH)
    nnUNetDatasetBlosc2.save_case(
        normalised[None],
        label_map[None].astype(np.int8),
        {},
        str(folder / "case"),
        chunks,
        blocks,
    )
    probabilities = make_probabilities(label_map, None, N_CLASSES, 1)
    save_probabilities(folder / "probabilities.b2nd", probabilities, True)
    stages = {
        "image": [f"image{SUFFIX}"],
        "label map": [f"label{SUFFIX}"],
        "preprocessed image and label map": ["case.b2nd", "case_seg.b2nd", "case.pkl"],
        f"probabilities of {N_CLASSES} classes": ["probabilities.b2nd"],
    }
    rows = []
    for stage, names in stages.items():
        size = sum((folder / name).stat().st_size for name in names)
        rows.append(row(f"made-up CT: {stage}", 1, "cases", len(names), size, image.size))
    return rows


def row(work: str, n: int, unit: str, n_files: int, size: int, n_voxels: int | None) -> dict:
    """Return one line of the table."""
    return {
        "work": work,
        "n": n,
        "unit": unit,
        "files": n_files,
        "disk_mb": round(size / 1e6, 3),
        "bytes_per_voxel": round(size / n_voxels, 3) if n_voxels else "",
    }


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    measure = {"results": measure_results, "phantom": measure_phantom}[what]
    print(json.dumps(measure(Path(folder))))
