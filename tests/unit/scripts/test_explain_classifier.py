"""From what a network says of made brains to maps over the template and a figure."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import explain_classifier
from plot_saliency import main as plot
from segflow.files.content import write_json
from segflow.images.brains import cut_grid, load_template, load_template_on, place_in_template
from segflow.images.nifti import Grid, read_image, write_image
from segflow.report.brain_figures import find_centre

CLASSES = ["CN", "AD"]
NAME = "Dataset022_adni"


class Bright(torch.nn.Module):
    """Tells a class by the brightness of one place."""

    def forward(self, patch):
        found = patch[:, 0, 4:8, 10:14, 6:10].flatten(1).mean(1)
        return torch.stack([-found, found], dim=1)


@pytest.fixture
def grid():
    image = cut_grid(load_template(), 8, 8)
    shape, spacing = image.GetSize()[::-1], image.GetSpacing()[::-1]
    return Grid(shape, spacing, image.GetOrigin(), image.GetDirection())


@pytest.fixture
def explain(tmp_path, grid, monkeypatch):
    """Return a function that explains the cases `a` to `d`; it counts what it loads."""
    generator = np.random.default_rng(0)
    brains = {name: generator.normal(size=grid.shape).astype(np.float32) for name in "abcd"}
    folder = tmp_path / "nnUNet_raw" / NAME / "labelsTr"
    folder.mkdir(parents=True)
    for name in brains:
        write_image(folder / f"{name}.nii.gz", np.ones(grid.shape, np.uint8), grid)
    whole = {
        "shape_before_cropping": grid.shape,
        "bbox_used_for_cropping": [(0, size) for size in grid.shape],
        "shape_after_cropping_and_before_resampling": grid.shape,
    }
    loaded = []

    def load_predictor(folder, trainings, plans, device):
        loaded.append([*trainings])
        return SimpleNamespace(
            configuration_manager=SimpleNamespace(patch_size=grid.shape, spacing=[8.0] * 3),
            plans_manager=SimpleNamespace(transpose_backward=(0, 1, 2)),
            network=Bright(),
            device=device,
            list_of_parameters=[{}],
        )

    def load_preprocessed(folder, case):
        return brains[case][None], whole

    changes = {
        "load_predictor": load_predictor,
        "load_preprocessed": load_preprocessed,
        "read_finished": lambda table, folder, cases: {case: case for case in cases},
        "end_cleanly": lambda: None,
    }
    for name, change in changes.items():
        monkeypatch.setattr(explain_classifier, name, change)
    settings = {"model": "cnn", "configuration": "3d_fullres", "classifier": {"windows": "centre"}}
    settings |= {"prediction": {"checkpoint": "final"}}
    write_json(tmp_path / "plans.json", {"plans_name": "cnn", "segflow": settings})
    for fold in (0, 1):
        write_json(tmp_path / f"training_{fold}.json", {"checkpoints": {"final": f"sha {fold}"}})

    def explain(p, **options):
        rows = [
            {"split": "val", "fold": number // 2, "case": name, "class": CLASSES[number % 2]}
            | {"p_CN": 1 - p[number], "p_AD": p[number]}
            for number, name in enumerate(brains)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / "classification.csv", index=False)
        trainings = [str(tmp_path / f"training_{fold}.json") for fold in (0, 1)]
        arguments = {
            "plans": tmp_path / "plans.json",
            "nnunet-name": NAME,
            "results": tmp_path,
            "classification": tmp_path / "classification.csv",
            "cases-per-class": 2,
            "steps": 2,
            "block-mm": 64,
            "preprocessed": tmp_path / "train.csv",
            "preprocessing": "x",
            "device": "cpu",
            "threads": 1,
            "folder": tmp_path / "saliency",
            "table": tmp_path / "saliency.csv",
        } | options
        given = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        given += ["--trainings", *trainings, "--folds", "0", "1", "--classes", *CLASSES]
        loaded.clear()
        explain_classifier.main(given)
        return loaded, pd.read_csv(tmp_path / "saliency.csv")

    return explain


def test_right_cases_are_explained_by_their_fold_and_drawn(explain, tmp_path, grid):
    loaded, table = explain([0.1, 0.9, 0.3, 0.2])  # d is told wrongly
    assert loaded == [[0], [1]]
    assert table[["case", "fold", "class"]].to_numpy().tolist() == [
        ["a", 0, "CN"],
        ["b", 0, "AD"],
        ["c", 1, "CN"],
    ]
    differences = table["logit"] - table["blurred_logit"]
    np.testing.assert_allclose(table["sum_of_gradients"], differences, rtol=1e-3, atol=1e-4)
    maps = {
        path.name: read_image(path) for path in sorted((tmp_path / "saliency").glob("*.nii.gz"))
    }
    assert list(maps) == [
        f"{name}_{method}.nii.gz"
        for name in ("0_CN", "1_AD")
        for method in ("integrated_gradients", "occlusion")
    ]
    for _, found in maps.values():
        assert found.shape == grid.shape
        np.testing.assert_allclose(found.origin_mm, grid.origin_mm)
    mean = maps["0_CN_integrated_gradients.nii.gz"][0][0]
    assert mean.sum() == pytest.approx(differences[[0, 2]].mean(), rel=1e-3)
    assert np.count_nonzero(mean) == 4**3

    figure = tmp_path / "saliency.png"
    plot(tmp_path / "saliency.csv", tmp_path / "saliency", CLASSES, "Tiny", figure)
    assert figure.stat().st_size > 20_000

    assert explain([0.1, 0.9, 0.3, 0.2])[0] == []  # all are finished
    assert explain([0.1, 0.9, 0.3, 0.2], **{"block-mm": 48})[0] == [[0], [1]]
    _, table = explain([0.9, 0.9, 0.8, 0.2], **{"block-mm": 48})
    assert table["case"].tolist() == ["b"]
    left = sorted(path.name for path in (tmp_path / "saliency").glob("[!.]*"))
    assert left == ["1_AD_integrated_gradients.nii.gz", "1_AD_occlusion.nii.gz", "b.npz"]


def test_without_a_right_case_the_figure_says_so(explain, tmp_path):
    loaded, table = explain([0.9, 0.1, 0.9, 0.1])
    assert loaded == []
    assert table.empty
    figure = tmp_path / "saliency.png"
    plot(tmp_path / "saliency.csv", tmp_path / "saliency", CLASSES, "Tiny", figure)
    assert figure.exists()


def test_places_are_those_of_the_template(grid):
    brain = load_template_on(grid)
    assert brain.shape == grid.shape
    middle = [(size - 1) / 2 for size in grid.shape]
    x, y, z = place_in_template(grid, middle)
    assert abs(x) < 8  # the template is symmetric
    assert -30 < y < 0
    assert z > 0
    right = place_in_template(grid, (0, 0, 1))
    np.testing.assert_allclose(np.subtract(right, place_in_template(grid, (0, 0, 0))), (8, 0, 0))


def test_planes_go_through_the_place_in_the_brain_that_counts_most(grid):
    values, brain = np.zeros(grid.shape), np.zeros(grid.shape, bool)
    brain[5:15, 5:15, 5:15] = True
    values[2, 2, 2], values[8, 9, 10], values[12, 7, 6] = 9, -3, 2
    assert find_centre(values, brain, grid.spacing_mm) == (8, 9, 10)
