"""Evaluation, post-processing search and ensembling beside nnU-Net's commands.

Label maps are real ones of kidneys (KiTS) and of the abdomen (AMOS), where they are there, and of
the hippocampus; the predictions are made from them: shifted, with false components and holes.
"""

import json
import math
import os
import pickle
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from costs import PROGRAMS, Cost, alone, medians, row
from predictions import make_predictions, make_probabilities
from project import ROOT

DATA = ROOT.parent / "shared/data"
AMOS = DATA / "amos22/labelsVa/amos_0013.nii.gz"
N_MEMBERS = 5
N_ENSEMBLED = 4
N_RUNS = 3  # of each pair
WORKERS = os.cpu_count()
LABELS = {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
ORGANS = {"background": 0} | {f"organ_{value}": value for value in range(1, 16)}
HALVES = {"background": 0, "anterior": 1, "posterior": 2}
TOLERANCE_MM = 2.0
LARGE = (600, 512, 512)
# How the work grows whose cost must not grow faster, and what is kept then.
GROWTH = {"voxels": (1, 4, 16), "labels": (1, 5, 15), "cases": (1, 4, 16)}
KEPT = {"voxels": 1, "labels": 2, "cases": 1}
MEMBERS = (5, 10, 20)


@dataclass(frozen=True)
class Maps:
    """Real label maps, each of which may stand for several cases.

    Parameters
    ----------
    what : str
        What they show.
    count : int
        Number of cases.
    labels : dict of str to int
        Their labels.
    folder, pattern : Path, str
        Where they are.
    """

    what: str
    count: int
    labels: dict[str, int]
    folder: Path
    pattern: str

    def find(self) -> list[Path]:
        """Return the label maps.

        Raises
        ------
        FileNotFoundError
            If there are none.
        """
        paths = sorted(self.folder.glob(self.pattern))
        if not paths:
            raise FileNotFoundError(f"{self.folder}: expected {self.pattern}, found none")
        return paths


MAPS = {
    "kits": Maps("KiTS", 12, LABELS, DATA, "kits*/case_*/segmentation.nii.gz"),
    "amos": Maps("AMOS", 4, ORGANS, AMOS.parent, AMOS.name),
    "hippocampus": Maps(
        "hippocampi", 50, HALVES, ROOT / "resources/Task04_Hippocampus", "labelsT[rs]/*.nii.gz"
    ),
}


def make_folders(folder: str, maps: str, count: str = "") -> None:
    """Write references and predictions, and what nnU-Net needs beside them.

    There are `count` cases, or as many as `MAPS` says.
    """
    from segflow.images.nifti import read_labels, write_image

    for name in ("references", "predictions"):
        Path(folder, name).mkdir(parents=True)
    sources = MAPS[maps].find()
    references = []
    for number in range(int(count or MAPS[maps].count)):
        label_map, grid = read_labels(sources[number % len(sources)])
        references.append(Path(folder, "references", f"case_{number:03d}.nii.gz"))
        write_image(references[-1], label_map.astype(np.uint8), grid)
    make_predictions(references, Path(folder, "predictions"), seed=1)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": MAPS[maps].labels,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    Path(folder, "dataset.json").write_text(json.dumps(dataset))
    plans = {"image_reader_writer": "SimpleITKIO", "configurations": {}}
    Path(folder, "plans.json").write_text(json.dumps(plans))


def evaluate_overlap(folder: str, maps: str) -> None:
    """Count what nnU-Net counts, of all cases."""
    from segflow.jobs.workers import map_cases

    names = sorted(path.name for path in Path(folder, "references").iterdir())
    pairs = [(Path(folder, "references", n), Path(folder, "predictions", n)) for n in names]
    work = partial(_overlap, labels=MAPS[maps].labels)
    rows = dict(map_cases(work, pairs, WORKERS, "overlap"))
    Path(folder, "overlap.json").write_text(json.dumps([rows[pair] for pair in pairs]))


def _overlap(pair: tuple[Path, Path], labels: dict[str, int]) -> dict:
    from segflow.evaluation.metrics import joint_histogram, overlap
    from segflow.images.nifti import read_labels

    truth, guess = (read_labels(path)[0] for path in pair)
    histogram = joint_histogram(truth, guess, max(labels.values()) + 1)
    return {name: overlap(histogram, [value], 1.0) for name, value in labels.items() if value}


def evaluate(folder: str, maps: str) -> None:
    """Measure everything, distances included."""
    from segflow.evaluation.all_cases import Comparison, evaluate_cases
    from segflow.evaluation.one_case import Settings

    references = sorted(Path(folder, "references").iterdir())
    comparisons = [
        Comparison(path, Path(folder, "predictions", path.name), {"case": path.name})
        for path in references
    ]
    labels = MAPS[maps].labels
    settings = Settings(labels, dict.fromkeys(labels, TOLERANCE_MM))
    shutil.rmtree(Path(folder, "evaluation"), ignore_errors=True)
    evaluate_cases(comparisons, settings, Path(folder, "evaluation"), WORKERS)


def nnunet(folder: Path, command: str, *options: str | Path | int) -> Cost:
    """Run one of nnU-Net's commands."""
    cost = Cost()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        cost.environment[name] = str(folder)
    cost.run(folder, PROGRAMS / command, *map(str, options), "-np", str(WORKERS))
    return cost


def bench_evaluate(folder: Path) -> list[dict]:
    """Evaluate folders of label maps: large ones, with many labels, and small ones."""
    return [row for maps in MAPS for row in _bench_evaluate(folder / maps, maps)]


def _bench_evaluate(folder: Path, name: str) -> list[dict]:
    alone("bench_evaluation.make_folders", folder, name)
    what = f"{MAPS[name].count} label maps of {MAPS[name].what}"
    files = ["-djfile", folder / "dataset.json", "-pfile", folder / "plans.json"]
    maps = folder / "references", folder / "predictions"
    overlap, everything, theirs = medians(
        N_RUNS,
        lambda: alone("bench_evaluation.evaluate_overlap", folder, name),
        lambda: alone("bench_evaluation.evaluate", folder, name),
        lambda: nnunet(folder, "nnUNetv2_evaluate_folder", *maps, *files),
    )
    peer = "nnUNetv2_evaluate_folder (overlap only)"
    return [
        row(f"{what} evaluated, overlap only", peer, overlap, theirs),
        row(f"{what} evaluated, all metrics", peer, everything, theirs),
    ]


def search(folder: str, maps: str) -> None:
    """Tabulate all cases and search the whole space, cross-fitting over folds included."""
    from segflow.files.content import write_json
    from segflow.predictors.component_tables import tabulate_cases
    from segflow.predictors.pooled_cases import Cohort
    from segflow.predictors.postprocessing_search import Search, search

    paths = [
        {path.name.split(".")[0]: path for path in sorted(Path(folder, kind).glob("*.nii.gz"))}
        for kind in ("references", "predictions")
    ]
    shutil.rmtree(Path(folder, "components"), ignore_errors=True)
    keys, labels = dict.fromkeys(paths[0], ""), MAPS[maps].labels
    tables = tabulate_cases(Path(folder, "components"), *paths, keys, labels, WORKERS)
    folds = {case: number % N_MEMBERS for number, case in enumerate(keys)}
    write_json(Path(folder, "search.json"), search(Cohort(tables, labels), Search(), folds))


def bench_search(folder: Path) -> list[dict]:
    """Search for post-processing steps on folders of label maps."""
    return [_bench_search(folder / maps, maps) for maps in ("kits", "hippocampus")]


def _bench_search(folder: Path, name: str) -> dict:
    alone("bench_evaluation.make_folders", folder, name)
    options = ["-i", folder / "predictions", "-ref", folder / "references"]
    options += ["-plans_json", folder / "plans.json", "-dataset_json", folder / "dataset.json"]
    options += ["--remove_postprocessed"]
    mine, theirs = medians(
        N_RUNS,
        lambda: alone("bench_evaluation.search", folder, name),
        lambda: nnunet(folder, "nnUNetv2_determine_postprocessing", *options),
    )
    n_trials = len(json.loads((folder / "search.json").read_text())["trials"])
    what = f"{MAPS[name].count} label maps of {MAPS[name].what}, {n_trials} candidates"
    peer = "nnUNetv2_determine_postprocessing (largest components)"
    return row(f"post-processing search on {what}", peer, mine, theirs)


def surfaces_of(package: str, folder: str) -> None:
    """Measure the distances of every label of every case with one package."""
    from segflow.images.nifti import read_labels

    for path in sorted(Path(folder, "references").iterdir()):
        truth, grid = read_labels(path)
        guess, _ = read_labels(Path(folder, "predictions", path.name))
        for value in (1, 2, 3):
            masks = truth == value, guess == value
            if masks[0].any() and masks[1].any():
                DISTANCES[package](*masks, grid.spacing_mm)


def _segflow(truth: np.ndarray, guess: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    from scipy.ndimage import find_objects

    from segflow.evaluation.distances import surface_metrics

    [box] = find_objects((truth | guess).view(np.uint8))
    surface_metrics(truth[box], guess[box], spacing_mm, TOLERANCE_MM)


def _surface_distance(truth: np.ndarray, guess: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    import surface_distance as package

    found = package.compute_surface_distances(truth, guess, spacing_mm)
    package.compute_robust_hausdorff(found, 95)
    package.compute_average_surface_distance(found)
    package.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)


def _monai(truth: np.ndarray, guess: np.ndarray, spacing_mm: tuple[float, ...]) -> None:
    import torch
    from monai import metrics

    pair = [torch.from_numpy(mask)[None, None] for mask in (guess, truth)]
    options = {"include_background": True, "spacing": spacing_mm}
    metrics.compute_hausdorff_distance(*pair, percentile=95, **options)
    metrics.compute_average_surface_distance(*pair, symmetric=True, **options)
    metrics.compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], **options)


DISTANCES = {"segflow": _segflow, "surface-distance": _surface_distance, "MONAI": _monai}


def bench_distances(folder: Path) -> list[dict]:
    """Measure HD95, ASSD and NSD with other packages, in one process."""
    n_maps = 3
    alone("bench_evaluation.make_folders", folder, "kits", n_maps)
    mine, *theirs = medians(
        N_RUNS,
        *(
            lambda name=name: alone("bench_evaluation.surfaces_of", name, folder)
            for name in DISTANCES
        ),
    )
    work = f"HD95, ASSD and NSD of {n_maps} label maps of CT, 1 process"
    return [
        row(work, name, mine, cost) for name, cost in zip(list(DISTANCES)[1:], theirs, strict=True)
    ]


def make_members(folder: str) -> None:
    """Write the probabilities of some cases by each member, in nnU-Net's form and in ours."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    from segflow.files.ledger import Ledger
    from segflow.files.manifests import write_manifest
    from segflow.images.nifti import read_labels, write_image
    from segflow.images.probabilities import save_probabilities

    n_classes = len(LABELS)
    cases = [f"case_{number}" for number in range(N_ENSEMBLED)]
    members = [Path(folder, f"peer_{number}") for number in range(N_MEMBERS)]
    for path in members:
        path.mkdir(parents=True)
        (path / "dataset.json").write_text(
            json.dumps({"labels": LABELS, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}})
        )
        plans = {"image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager"}
        (path / "plans.json").write_text(json.dumps(plans))
    for number, case in enumerate(cases):
        label_map, grid = read_labels(MAPS["kits"].find()[number])
        label_map = np.ascontiguousarray(label_map[128:384, 128:384])
        image = Path(folder, "images", f"{case}_0000.nii.gz")
        write_image(image, label_map.astype(np.int16), replace(grid, shape=label_map.shape))
        _, properties = SimpleITKIO().read_images([str(image)])
        for member, path in enumerate(members):
            probabilities = make_probabilities(label_map, None, n_classes, 100 * number + member)
            np.savez_compressed(path / f"{case}.npz", probabilities=probabilities)
            (path / f"{case}.pkl").write_bytes(pickle.dumps(properties))
            ours = Path(folder, f"ours_{member}", f"{case}.b2nd")
            save_probabilities(ours, probabilities, with_background=True)
            Ledger(ours.parent).enter(case, f"{member}", [ours])
    for member in range(N_MEMBERS):
        write_manifest(Path(folder, f"ours_{member}.csv"), {case: f"{member}" for case in cases})


def ensemble(folder: str, times: str = "1") -> None:
    """Average the members as the workflow does; each may count as several."""
    from ensemble_predictions import main

    shutil.rmtree(Path(folder, "ours"), ignore_errors=True)
    numbers = list(range(N_MEMBERS)) * int(times)
    main(
        tables=[
            (Path(folder, f"ours_{number}.csv"), f"model_{place}", 0, 1.0)
            for place, number in enumerate(numbers)
        ],
        splits=None,
        images=Path(folder, "images"),
        regions_class_order=None,
        workers=WORKERS,
        manifest=Path(folder, "ours", "predictions.csv"),
    )


def bench_ensemble(folder: Path) -> list[dict]:
    """Make label maps from the probabilities of five members, and compare them."""
    from segflow.images.nifti import read_labels

    alone("bench_evaluation.make_members", folder)
    inputs = [folder / f"peer_{number}" for number in range(N_MEMBERS)]
    mine, theirs = medians(
        N_RUNS,
        lambda: alone("bench_evaluation.ensemble", folder),
        lambda: nnunet(folder, "nnUNetv2_ensemble", "-i", *inputs, "-o", folder / "peer"),
    )
    n_equal = n_voxels = 0
    for path in sorted((folder / "ours").glob("*.nii.gz")):
        equal = read_labels(path)[0] == read_labels(folder / "peer" / path.name)[0]
        n_equal, n_voxels = n_equal + int(equal.sum()), n_voxels + equal.size
    sizes = [
        sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6
        for pattern in ("ours_*/*.b2nd", "peer_*/*.npz")
    ]
    work = (
        f"{N_MEMBERS} members x {N_ENSEMBLED} CTs averaged, {sizes[0]:.1f} MB on disk, "
        f"{n_equal / n_voxels:.5%} of voxels equal"
    )
    rows = [row(work, f"nnUNetv2_ensemble, {sizes[1]:.1f} MB on disk", mine, theirs)]
    for count in MEMBERS:
        mine = alone("bench_evaluation.ensemble", folder, count // N_MEMBERS)
        rows.append(row(f"{count} members averaged", "-", mine, None))
    return rows


def make_large(folder: str) -> None:
    """Write a large reference with 15 labels, repeated from a real one, and a prediction."""
    from segflow.images.nifti import read_labels, write_image

    label_map, grid = read_labels(AMOS)
    for axis, size in enumerate(LARGE):
        label_map = np.concatenate([label_map] * math.ceil(size / label_map.shape[axis]), axis)
        label_map = label_map.take(range(size), axis)
    path = Path(folder, "references", "case_000.nii.gz")
    for name in ("references", "predictions"):
        Path(folder, name).mkdir(parents=True)
    write_image(path, label_map.astype(np.uint8), replace(grid, shape=LARGE))
    make_predictions([path], Path(folder, "predictions"), seed=1)


def bench_large(folder: Path) -> list[dict]:
    """Evaluate a volume of 512 x 512 x 600 voxels with 15 labels."""
    alone("bench_evaluation.make_large", folder)
    mine = alone("bench_evaluation.evaluate", folder, "amos")
    return [row("all metrics of a 512 x 512 x 600 volume with 15 labels", "-", mine, None)]


def make_grown(folder: str, voxels: str, labels: str, cases: str) -> None:
    """Write balls: twice the voxels are twice the slices, a label is a ball in every 80 slices."""
    from segflow.images.nifti import Grid, write_image

    shape = (80 * int(voxels), 320, 320)
    grid = Grid(shape, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    label_map = np.zeros(shape, np.uint8)
    for label in range(int(labels)):
        row, column = divmod(label, 4)
        ball = (y - 60 - 80 * row) ** 2 + (x - 40 - 80 * column) ** 2 + (z % 80 - 40) ** 2 < 34**2
        label_map[ball] = label + 1
    for name in ("references", "predictions"):
        Path(folder, name).mkdir(parents=True)
    references = []
    for number in range(8 * int(cases)):
        references.append(Path(folder, "references", f"case_{number:03d}.nii.gz"))
        write_image(references[-1], label_map, grid)
    make_predictions(references, Path(folder, "predictions"), seed=1)


def bench_growth(folder: Path) -> list[dict]:
    """Evaluate more and more voxels, labels and cases: the cost must not grow faster."""
    rows = []
    for what, sizes in GROWTH.items():
        for size in sizes:
            where = folder / f"{what}_{size}"
            alone("bench_evaluation.make_grown", where, *(KEPT | {what: size}).values())
            mine = alone("bench_evaluation.evaluate", where, "amos")
            rows.append(row(f"all metrics, {size} x the {what}", "-", mine, None))
    return rows
