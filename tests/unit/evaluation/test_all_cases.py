import csv
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import surface_distance
from nnunetv2.evaluation.evaluate_predictions import compute_metrics, compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from segflow.evaluation import all_cases
from segflow.evaluation.all_cases import Comparison, check_comparisons, evaluate_cases
from segflow.evaluation.distances import surface_metrics
from segflow.evaluation.lesions import LesionRule
from segflow.evaluation.metrics import METRICS, OPTIONAL, columns
from segflow.evaluation.one_case import Settings, evaluate_case
from segflow.files.cases import write_rows
from segflow.images.nifti import read_labels, write_image

# Of a peer: it uses what SciPy is about to remove.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Please import .* from the `scipy.ndimage` namespace:DeprecationWarning"
)
NAN, INF = math.nan, math.inf
LABELS = {"background": 0, "a": 1, "b": 2}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3}
TOLERANCES = {"a": 1.0, "b": 1.0}
LESIONS = LesionRule(labels=("a",), overlap="iou", threshold=0.1, min_volume_mm3=0)
MANUAL = Path(__file__).parents[3] / "docs" / "metrics.md"
NAMES = {"dice": "Dice", "iou": "IoU", "tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}


@pytest.fixture
def pair():
    """Return a reference and a prediction with three labels, of which half the voxels agree."""
    generator = np.random.default_rng(0)
    reference = generator.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    guess = generator.integers(0, 4, (4, 5, 6)).astype(np.uint8)
    return reference, np.where(generator.random((4, 5, 6)) < 0.5, reference, guess)


@pytest.fixture
def hippocampi(hippocampus, tmp_path):
    """Return references and made predictions of four real cases."""
    pairs = []
    for number, path in enumerate(sorted((hippocampus / "labelsTr").glob("*.nii.gz"))[:4]):
        label_map, grid = read_labels(path)
        label_map = label_map.astype(np.uint8)
        moved = np.roll(label_map, (1, -2 * number), (0, 2))
        if number == 3:
            moved[moved == 2] = 0
        write_image(tmp_path / "guesses" / path.name, moved, grid)
        write_image(tmp_path / "truths" / path.name, label_map, grid)
        pairs.append((tmp_path / "truths" / path.name, tmp_path / "guesses" / path.name))
    return pairs


def measure(reference, prediction, **settings):
    return evaluate_case(reference, prediction, Settings(**{"labels": LABELS, **settings}))[0]


def test_regions_agree_with_nnunet(pair, draw, tmp_path):
    paths = [draw(tmp_path / f"{n}.nii.gz", array) for n, array in enumerate(pair)]
    found = measure(*paths, labels=REGIONS)
    keys = {"whole": (1, 2, 3), "core": (2, 3), "tip": 3}
    expected = compute_metrics(*map(str, paths), SimpleITKIO(), list(keys.values()))["metrics"]
    for region, key in keys.items():
        theirs = {mine: expected[key][name] for mine, name in NAMES.items()}
        assert {name: found[region][name] for name in NAMES} == pytest.approx(theirs)


def test_what_nobody_annotated_is_left_out_as_nnunet_does(pair, draw, tmp_path):
    reference, prediction = (array.copy() for array in pair)
    reference[:, :, ::3] = 4
    paths = [draw(tmp_path / f"{n}.nii.gz", a) for n, a in enumerate((reference, prediction))]
    found = measure(*paths, labels={**REGIONS, "ignore": 4})
    keys = {"whole": (1, 2, 3), "core": (2, 3), "tip": 3}
    expected = compute_metrics(*map(str, paths), SimpleITKIO(), list(keys.values()), ignore_label=4)
    assert found.keys() == keys.keys()
    for region, key in keys.items():
        theirs = {mine: expected["metrics"][key][name] for mine, name in NAMES.items()}
        assert {name: found[region][name] for name in NAMES} == pytest.approx(theirs)


@pytest.mark.parametrize("keys", [{"a": 1, "b": 2}, {"all": (1, 2), "b": (2,)}])
def test_a_folder_agrees_with_nnunet(hippocampi, tmp_path, keys):
    summary = tmp_path / "summary.json"
    folders = [str(path.parent) for path in hippocampi[0]]
    compute_metrics_on_folder(
        *folders, str(summary), SimpleITKIO(), ".nii.gz", [*keys.values()], num_processes=1
    )
    theirs = {
        Path(case["prediction_file"]).name: case["metrics"]
        for case in json.loads(summary.read_text())["metric_per_case"]
    }
    labels = {"background": 0} | {name: np.atleast_1d(key).tolist() for name, key in keys.items()}
    for reference, prediction in hippocampi:
        found = measure(reference, prediction, labels=labels)
        for name, key in keys.items():
            expected = theirs[prediction.name][str(key)]
            assert {mine: found[name][mine] for mine in NAMES} == pytest.approx(
                {mine: expected[other] for mine, other in NAMES.items()}
            )


def test_a_label_does_not_depend_on_what_is_around_it(pair, draw, tmp_path):
    paths = [draw(tmp_path / f"{n}.nii.gz", array) for n, array in enumerate(pair)]
    padded = [np.pad(array, ((3, 1), (0, 9), (5, 2))) for array in pair]
    others = [draw(tmp_path / f"large_{n}.nii.gz", array) for n, array in enumerate(padded)]
    settings = {"labels": REGIONS, "tolerances_mm": dict.fromkeys(REGIONS, 1.0)}
    small, large = measure(*paths, **settings), measure(*others, **settings)
    for region in small:
        for name in ("tn", "specificity", "accuracy"):
            del small[region][name], large[region][name]
        assert small[region] == pytest.approx(large[region])


def test_sizes_follow_the_spacing(draw, tmp_path):
    label_map = np.zeros((2, 3, 4), np.uint8)
    label_map[0, :, 0] = 2
    path = draw(tmp_path / "a.nii.gz", label_map)  # voxels of 3 x 2 x 1 mm
    found = measure(path, path)
    assert found["b"]["reference_ml"] == pytest.approx(3 * 6 / 1000)
    assert found["a"]["reference_ml"] == 0
    assert math.isnan(found["a"]["dice"])
    flat = draw(tmp_path / "flat.nii.gz", label_map[:1])
    found = measure(flat, flat, flat=True)
    assert found["b"]["reference_mm2"] == pytest.approx(3 * 2)


@pytest.mark.parametrize("axis", range(3))
def test_a_label_in_one_slice_of_a_volume_has_a_surface(draw, tmp_path, axis):
    # Plates of 7 x 7 voxels, a step of 1 mm apart, 3 mm thick: cut from the image, they would be
    # pictures, whose contours are half a step further apart on the whole.
    maps = np.zeros((2, 8, 20, 20), np.uint8)
    maps[0, 4, 5:12, 5:12] = maps[1, 4, 5:12, 6:13] = 1
    order = [0, 0, 0]
    order[axis], order[axis - 1], order[axis - 2] = 0, 1, 2
    spacing = tuple((3.0, 1.0, 1.0)[place] for place in order)
    paths = [
        draw(tmp_path / f"{n}.nii.gz", one.transpose(order), spacing_mm=spacing)
        for n, one in enumerate(maps)
    ]
    found = measure(*paths, tolerances_mm={"a": 0.5})["a"]
    expected = surface_distance.compute_surface_distances(*maps.astype(bool), (3.0, 1.0, 1.0))
    nsd = surface_distance.compute_surface_dice_at_tolerance(expected, 0.5)
    assert (found["assd"], found["nsd"]) == (pytest.approx(0.1389, abs=1e-4), pytest.approx(nsd))
    assert nsd == pytest.approx(0.8611, abs=1e-4)


@pytest.mark.parametrize("axis", range(3))
def test_a_flat_image_is_a_picture_along_any_axis(draw, tmp_path, axis):
    pictures = np.zeros((2, 12, 15), np.uint8)
    pictures[0, 3:8, 3:9] = pictures[1, 4:8, 3:11] = 1
    rule = replace(LESIONS, min_volume_mm3=64.0)  # mm2: 32 pixels of 2 mm2
    found = []
    for thickness_mm in (1.0, 5.0):
        spacing = [2.0, 1.0]
        spacing.insert(axis, thickness_mm)
        paths = [
            draw(tmp_path / f"{n}.nii.gz", np.expand_dims(one, axis), spacing_mm=tuple(spacing))
            for n, one in enumerate(pictures)
        ]
        settings = Settings(LABELS, TOLERANCES, rule, flat=True)
        found.append(evaluate_case(*paths, settings))
    np.testing.assert_equal(found[0], found[1])
    metrics, lesions = found[0][0]["a"], found[0][1]
    expected = surface_metrics(*(one[None] > 0 for one in pictures), (9.0, 2.0, 1.0), 1.0)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics["reference_mm2"] == 5 * 6 * 2
    # 30 pixels are no lesion, 32 are one.
    assert [(row["kind"], row["area_mm2"]) for row in lesions] == [("prediction", 64)]


def test_a_flat_image_among_volumes_has_the_volume_of_its_slice(draw, tmp_path):
    picture = np.zeros((1, 6, 6), np.uint8)
    picture[0, 1:3, 1:4] = 1
    path = draw(tmp_path / "a.nii.gz", picture, spacing_mm=(5.0, 2.0, 1.0))
    rule = replace(LESIONS, min_volume_mm3=12.0)  # its area in mm2
    metrics, lesions = evaluate_case(path, path, Settings(LABELS, lesions=rule))
    assert metrics["a"]["reference_ml"] == pytest.approx(0.06)
    assert [row["volume_mm3"] for row in lesions] == [60, 60]


@pytest.mark.parametrize(
    ("spacing_mm", "steps", "tolerance_mm"),
    [(0.8, 1, 0.8), (0.3, 1, 0.3), (1.1, 1, 1.1), (0.6, 3, 1.8), (0.7, 3, 2.1), (1.2, 1, 1.2)],
)
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])  # spacings of 32 bits, or of 64
def test_a_distance_that_is_the_tolerance_is_within_it(
    draw, tmp_path, spacing_mm, steps, tolerance_mm, suffix
):
    cube = np.zeros((16, 16, 16), np.uint8)
    cube[2:12, 2:12, 2:12] = 1
    spacing = {"spacing_mm": (spacing_mm,) * 3}
    for axis in range(3):
        moved = np.roll(cube, steps, axis)
        paths = [
            draw(tmp_path / f"{n}{axis}.{suffix}", one, **spacing)
            for n, one in enumerate((cube, moved))
        ]
        found = measure(*paths, tolerances_mm={"a": tolerance_mm})["a"]["nsd"]
        assert found == 1.0
        less = {"a": tolerance_mm - 1e-3}
        assert measure(*paths, tolerances_mm=less)["a"]["nsd"] < 0.9


@pytest.mark.parametrize("spacing_mm", [0.7, 0.3, 1.1])
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_a_lesion_of_the_least_volume_counts(draw, tmp_path, spacing_mm, suffix):
    lesion = np.zeros((3, 4, 12), np.uint8)
    lesion[1, 1, 1:11] = 1
    path = draw(tmp_path / f"a.{suffix}", lesion, spacing_mm=(spacing_mm,) * 3)
    for n_voxels, expected in ((10, 1), (10.01, 0)):
        limit = round(n_voxels * round(spacing_mm**3, 6), 6)
        rule = replace(LESIONS, min_volume_mm3=limit)
        assert measure(path, path, lesions=rule)["a"]["lesion_tp"] == expected


def test_distances_follow_the_spacing(draw, tmp_path):
    label_map = np.zeros((3, 4, 9), np.uint8)
    label_map[1, 1:3, 2:4] = 1
    paths = [
        draw(tmp_path / "a.nii.gz", label_map),
        draw(tmp_path / "b.nii.gz", np.roll(label_map, 1, 1)),
    ]
    found = measure(*paths, tolerances_mm={"a": 2.0, "b": 1.0})["a"]
    assert (found["hd"], found["nsd"]) == (2, 1)
    assert measure(*paths, tolerances_mm={"a": 1.0})["a"]["nsd"] < 1
    assert math.isnan(measure(*paths, tolerances_mm={"b": 2.0})["a"]["nsd"])


def empty_table():
    """Return the manual's table of empty masks: its cells by column and situation."""
    section = MANUAL.read_text().split("## Empty masks")[1]
    rows = re.findall(r"^\| (`.*?) \| (.*) \| (.*) \| (.*) \|$", section, re.M)
    return {name: cells for names, *cells in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_manual_says_what_each_metric_of_empty_masks_is():
    assert empty_table().keys() == METRICS.keys() - {"area_difference_mm2"}


# 24 voxels of 6 mm3; one lesion of two voxels, where there is any.
VALUES = {
    "undefined": NAN,
    "TN / (TN + FP)": 22 / 24,
    "TN / (TN + FN)": 22 / 24,
    "P": 0.012,
    "R": 0.012,
    "the predicted lesions": 1,
}


@pytest.mark.parametrize("name", empty_table())
def test_empty_masks_are_what_the_manual_says(draw, tmp_path, name):
    some = np.zeros((2, 3, 4), np.uint8)
    some[0, 1, 1:3] = 1
    empty, some = (draw(tmp_path / f"{n}.nii.gz", a) for n, a in enumerate((0 * some, some)))
    for cell, files in zip(
        empty_table()[name], ((empty, empty), (empty, some), (some, empty)), strict=True
    ):
        wanted = {"tolerances_mm": TOLERANCES, "lesions": LESIONS, "options": tuple(OPTIONAL)}
        found = measure(*files, **wanted)["a"][name]
        expected = VALUES[cell] if cell in VALUES else float(cell)
        assert found == pytest.approx(expected, nan_ok=True)


def test_undefined_and_infinite_values_survive_the_table(draw, tmp_path):
    some = np.zeros((2, 3, 4), np.uint8)
    some[0, 1, 1:3] = 1
    files = [draw(tmp_path / f"{n}.nii.gz", array) for n, array in enumerate((some, 0 * some))]
    rows, _ = evaluate_cases(
        [Comparison(*files, {})], Settings(LABELS, TOLERANCES), tmp_path / "cases", 1
    )
    write_rows(tmp_path / "metrics.csv", rows, ["label", *columns(flat=False)])
    table = pd.read_csv(tmp_path / "metrics.csv").set_index("label")
    assert table.loc["a", "hd95"] == INF
    assert table["hd95"].isna().tolist() == [False, True]
    assert table.loc["a", "dice"] == 0
    assert table["lesion_f1"].isna().all()


def test_exchanging_the_maps_exchanges_precision_and_recall(hippocampi):
    exchanged = {"precision": "recall", "fp": "fn", "reference_ml": "prediction_ml"}
    exchanged |= {f"lesion_{name}": f"lesion_{other}" for name, other in [*exchanged.items()][:2]}
    exchanged |= {there: here for here, there in exchanged.items()}
    for files in hippocampi:
        settings = {"tolerances_mm": TOLERANCES, "lesions": LESIONS}
        one, other = measure(*files, **settings), measure(*files[::-1], **settings)
        for label in one:
            for name in one[label].keys() - {"specificity", "relative_volume_difference"}:
                expected = other[label][exchanged.get(name, name)]
                assert one[label][name] == pytest.approx(expected, nan_ok=True), name


def test_lesions_of_a_case(draw, tmp_path):
    reference = np.zeros((2, 5, 9), np.uint8)
    reference[0, 1, 1:3], reference[1, 3, 6] = 1, 1
    prediction = np.where(reference, 1, 0).astype(np.uint8)
    prediction[1, 3, 6], prediction[0, 1, 5] = 2, 1
    files = [draw(tmp_path / f"{n}.nii.gz", a) for n, a in enumerate((reference, prediction))]
    metrics, lesions = evaluate_case(*files, Settings(LABELS, lesions=LESIONS))
    found = metrics["a"]
    assert (found["lesion_tp"], found["lesion_fp"], found["lesion_fn"]) == (1, 1, 1)
    assert "lesion_tp" not in metrics["b"]
    assert [(row["label"], row["kind"], row["volume_mm3"]) for row in lesions] == [
        ("a", "reference", 12),
        ("a", "reference", 6),
        ("a", "prediction", 12),
        ("a", "prediction", 6),
    ]


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ((2, 3, 5), {}, r"shape \(2 3 4 against 2 3 5\)"),
        ((2, 3, 4), {"spacing_mm": (3.0, 2.0, 1.5)}, r"spacing \(3 2 1 against 3 2 1\.5\)"),
        ((2, 3, 4), {"origin_mm": (10.0, 20.0, 31.0)}, r"origin \(10 20 30 against 10 20 31\)"),
        (
            (2, 3, 4),
            {"direction": (0, 1, 0, -1, 0, 0, 0, 0, 1)},
            r"direction \(1 0 0 0 1 0 0 0 1 a",
        ),
    ],
)
def test_another_grid_is_refused(draw, tmp_path, shape, changes, message):
    reference = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    prediction = draw(tmp_path / "b.nii.gz", np.ones(shape, np.uint8), **changes)
    where = r"b\.nii\.gz: differs from its reference .*a\.nii\.gz in"
    with pytest.raises(ValueError, match=f"{where} {message}"):
        measure(reference, prediction)
    with pytest.raises(ValueError, match=f"{where} {message}"):
        check_comparisons([Comparison(reference, prediction, {})])


def test_a_missing_file_is_named(draw, tmp_path):
    there, missing = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8)), tmp_path / "b.nii"
    with pytest.raises(FileNotFoundError, match=r"b\.nii: the prediction of this case is missing"):
        check_comparisons([Comparison(there, missing, {})])
    with pytest.raises(FileNotFoundError, match=r"b\.nii: the reference of this case is missing"):
        check_comparisons([Comparison(missing, there, {})])


def test_a_truncated_file_is_refused(draw, tmp_path):
    label_map = np.random.default_rng(0).integers(0, 2, (20, 30, 40)).astype(np.uint8)
    reference = draw(tmp_path / "a.nii.gz", label_map)
    prediction = tmp_path / "b.nii.gz"
    content = reference.read_bytes()
    for part in (content[:-300], content[:-4], content[:200]):
        prediction.write_bytes(part)
        with pytest.raises(ValueError, match=r"b\.nii\.gz: cannot be read \("):
            measure(reference, prediction)


def test_an_undeclared_label_is_refused(draw, tmp_path):
    reference = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    prediction = draw(tmp_path / "b.nii.gz", np.full((2, 3, 4), 3, np.uint8))
    with pytest.raises(ValueError, match=r"b\.nii\.gz: the prediction holds label 3, allowed"):
        measure(reference, prediction)


def test_an_undeclared_label_between_declared_ones_is_refused(draw, tmp_path):
    ones = draw(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8))
    twos = draw(tmp_path / "b.nii.gz", np.full((2, 3, 4), 2, np.uint8))
    labels = {"background": 0, "a": 1, "b": 3}
    for files in ((ones, twos), (twos, ones)):
        with pytest.raises(ValueError, match="it or its reference holds undeclared label 2"):
            measure(*files, labels=labels)


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_follow_the_order_of_the_comparisons(draw, tmp_path, workers):
    ones = draw(tmp_path / "ones.nii.gz", np.ones((2, 3, 4), np.uint8))
    twos = draw(tmp_path / "twos.nii.gz", np.full((2, 3, 4), 2, np.uint8))
    comparisons = [Comparison(ones, twos, {"case": "z"}), Comparison(ones, ones, {"case": "y"})]
    rows, lesions = evaluate_cases(
        comparisons, Settings(LABELS, lesions=LESIONS), tmp_path / "cases", workers
    )
    assert [(row["case"], row["label"]) for row in rows] == [
        ("z", "a"),
        ("z", "b"),
        ("y", "a"),
        ("y", "b"),
    ]
    assert [row["dice"] for row in rows] == pytest.approx([0, 0, 1, NAN], nan_ok=True)
    assert [(row["case"], row["kind"]) for row in lesions] == [
        ("z", "reference"),
        ("y", "reference"),
        ("y", "prediction"),
    ]


def finished(folder):
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def test_only_what_changed_is_evaluated_again(hippocampi, tmp_path, monkeypatch):
    folder = tmp_path / "cases"
    comparisons = [Comparison(*files, {"case": files[0].name}) for files in hippocampi]

    def run(tolerances_mm=None):
        before = finished(folder)
        settings = Settings(LABELS, tolerances_mm or {})
        rows, _ = evaluate_cases(comparisons, settings, folder, 1)
        after = finished(folder)
        assert len(after) == len(comparisons)
        return rows, sum(before.get(key) != time for key, time in after.items())

    rows, count = run()
    assert count == 4
    assert run() == (rows, 0)
    shutil.copy(hippocampi[0][0], hippocampi[0][1])
    again, count = run()
    assert (again[2:], count) == (rows[2:], 1)
    assert again[0]["dice"] == 1
    assert run({"a": 1.0})[1] == 4
    monkeypatch.setattr(all_cases, "module_key", lambda module: f"other {module}")
    assert run()[1] == 4


def test_equal_label_maps_are_evaluated_once(hippocampi, tmp_path):
    reference, prediction = hippocampi[1]
    copy = tmp_path / "postprocessed" / prediction.name
    copy.parent.mkdir()
    shutil.copy(prediction, copy)
    comparisons = [
        Comparison(reference, prediction, {"stage": "raw"}),
        Comparison(reference, copy, {"stage": "postprocessed"}),
    ]
    rows, _ = evaluate_cases(comparisons, Settings(LABELS), tmp_path / "cases", 1)
    assert len(finished(tmp_path / "cases")) == 1
    assert [row["stage"] for row in rows] == ["raw", "raw", "postprocessed", "postprocessed"]


def test_a_failure_keeps_finished_cases(hippocampi, draw, tmp_path):
    folder = tmp_path / "cases"
    comparisons = [Comparison(*files, {}) for files in hippocampi]
    content = hippocampi[-1][1].read_bytes()
    hippocampi[-1][1].write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"cannot be read \(Compressed file ended"):
        evaluate_cases(comparisons, Settings(LABELS), folder, 1)
    before = finished(folder)
    hippocampi[-1][1].write_bytes(content)
    evaluate_cases(comparisons, Settings(LABELS), folder, 1)
    assert before.items() <= finished(folder).items()


def test_the_workers_do_not_matter(hippocampi, tmp_path):
    comparisons = [Comparison(*files, {"case": files[0].name}) for files in hippocampi]
    settings = Settings(LABELS, TOLERANCES, LESIONS)
    found = [
        evaluate_cases(order, settings, tmp_path / f"{workers}", workers)
        for workers, order in ((1, comparisons), (2, comparisons[::-1]))
    ]
    for one, other in zip(*found, strict=True):
        both = [sorted(csv_text(tmp_path, rows).splitlines()) for rows in (one, other)]
        assert both[0] == both[1]


def csv_text(folder, rows):
    write_rows(folder / "rows.csv", rows, list(rows[0]))
    with (folder / "rows.csv").open() as file:
        return "\n".join(",".join(row) for row in csv.reader(file))
