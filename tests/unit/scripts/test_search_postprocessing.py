import csv
import json
import os

import matplotlib.image
import numpy as np
import pytest

import apply_postprocessing
import plot_postprocessing
import search_postprocessing
from segflow.evaluation.lesions import LesionRule
from segflow.files.cases import write_cases
from segflow.files.content import write_json
from segflow.files.ledger import Ledger
from segflow.files.manifests import read_manifest, write_manifest
from segflow.images.nifti import read_labels
from segflow.predictors.postprocessing_search import Search

LABELS = {"background": 0, "a": 1, "b": 2}


@pytest.fixture
def predictor(draw, make_case, tmp_path):
    """Return a folder with references and predictions of four cases in two folds."""
    names = ["c1", "c2", "c3", "c4"]
    for number, name in enumerate(names):
        reference = np.zeros((1, 12, 12), np.uint8)
        reference[0, 1:7, 1:7] = 1
        reference[0, 4:6, 4:6] = 2
        prediction = reference.copy()
        prediction[0, 2, 2] = 0  # a hole
        if number != 2:
            prediction[0, 9, 9 : 10 + number] = 1  # an island
        draw(tmp_path / f"references/{name}.nii.gz", reference)
        draw(tmp_path / f"raw/{name}.nii.gz", prediction)
        Ledger(tmp_path / "raw").enter(name, f"key of {name}", [tmp_path / f"raw/{name}.nii.gz"])
    write_manifest(tmp_path / "raw/predictions.csv", {name: f"key of {name}" for name in names})
    write_json(tmp_path / "splits.json", [{"val": names[:2]}, {"val": names[2:]}])
    write_cases(tmp_path / "cases.csv", [make_case(name, shape="1 12 12") for name in names])
    return tmp_path


def run_search(folder, **changes):
    options = {
        "predictions": [folder / "raw/predictions.csv"],
        "splits": folder / "splits.json",
        "cases": folder / "cases.csv",
        "references": folder / "references",
        "labels": LABELS,
        "what": Search(),
        "rule": None,
        "threads": 2,
        "memory_mb": 1000,
        "choice": folder / "postprocessing.json",
        "components": folder / "components.csv",
    }
    search_postprocessing.main(**{**options, **changes})
    return json.loads((folder / "postprocessing.json").read_text())


def test_from_predictions_to_postprocessed_label_maps_and_figure(predictor):
    # Four cases confirm nothing.
    found = run_search(predictor, what=Search(adopt="cross_fitted"))
    steps = [(step["scope"], step["operation"]) for step in found["steps"]]
    assert steps == [("foreground", "fill_holes"), ("foreground", "keep_largest")]
    assert found["gain"]["cross_fitted"] == pytest.approx(found["gain"]["in_sample"])
    with (predictor / "components.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["scope"] == "a"]
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("component"), kinds.count("hole")) == (7, 4)

    apply_postprocessing.main(
        predictor / "raw/predictions.csv",
        predictor / "postprocessing.json",
        2,
        1000,
        predictor / "new/predictions.csv",
    )
    assert read_manifest(predictor / "new/predictions.csv").keys() == {"c1", "c2", "c3", "c4"}
    for case in ("c1", "c2", "c3", "c4"):
        found = read_labels(predictor / f"new/{case}.nii.gz")[0]
        expected = read_labels(predictor / f"references/{case}.nii.gz")[0]
        np.testing.assert_array_equal(found, expected)

    figure = predictor / "postprocessing.png"
    plot_postprocessing.main(
        predictor / "postprocessing.json", predictor / "components.csv", "A network", figure
    )
    assert len(np.unique(matplotlib.image.imread(figure).reshape(-1, 4), axis=0)) > 20


def test_without_validation_cases_there_are_no_steps(predictor):
    found = run_search(predictor, predictions=[])
    assert (found["steps"], found["n_cases"]) == ([], 0)
    figure = predictor / "figure.png"
    plot_postprocessing.main(
        predictor / "postprocessing.json", predictor / "components.csv", "Title", figure
    )
    assert figure.exists()


def test_without_operations_label_maps_stay_as_they_are(predictor):
    found = run_search(predictor, what=Search(operations=()))
    assert found["steps"] == found["trials"] == []
    apply_postprocessing.main(
        predictor / "raw/predictions.csv",
        predictor / "postprocessing.json",
        1,
        1000,
        predictor / "new/predictions.csv",
    )
    for name in ("c1.nii.gz", "c3.nii.gz"):
        assert os.path.samefile(predictor / "raw" / name, predictor / "new" / name)
    figure = predictor / "postprocessing.png"
    plot_postprocessing.main(
        predictor / "postprocessing.json", predictor / "components.csv", "A network", figure
    )
    assert figure.stat().st_size > 0


def test_another_objective_makes_no_new_tables(predictor, capsys):
    run_search(predictor)
    rule = LesionRule(("a",), "iou", 0.1, 0.0)
    found = run_search(predictor, what=Search(objective="lesion_f1"), rule=rule)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("components:")] == [
        "components: 0 of 4 cases are finished",
        "components: 4 of 4 cases are finished",
    ]
    # Three cases have a false lesion beside the true one, one has none.
    assert found["gain"]["in_sample"] == pytest.approx((3 * (1 - 2 / 3)) / 4)


def test_a_case_without_a_fold_is_refused(predictor):
    write_manifest(predictor / "raw/predictions.csv", {"c1": "1", "stray": "2"})
    with pytest.raises(ValueError, match=r"predictions\.csv: case 'stray' is in no validation"):
        run_search(predictor)
