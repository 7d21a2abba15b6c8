import csv

import numpy as np
import pytest

from evaluate_predictor import main
from segflow.files.cases import write_cases
from segflow.files.content import Damaged, write_json
from segflow.files.ledger import Ledger
from segflow.files.manifests import write_manifest

LABELS = {"background": 0, "organ": 1, "lesion": 2}
RULE = {"labels": ["lesion"], "overlap": "iou", "threshold": 0.1, "min_volume_mm3": 0}


@pytest.fixture
def predictor(draw, make_case, tmp_path):
    """Write references and predictions of three training and two test cases.

    Test case t2 has no reference. Returns a function that evaluates.
    """
    generator = np.random.default_rng(0)
    raw, folder = tmp_path / "raw", tmp_path / "predictor"

    def build(shape=(4, 5, 6)):
        words = " ".join(map(str, shape))
        cases = [make_case(name, shape=words) for name in ("a", "b", "c")]
        cases.append(make_case("t1", split="test", shape=words))
        cases.append(make_case("t2", split="test", shape=words, label=""))
        write_cases(tmp_path / "cases.csv", cases)
        for case in cases:
            part = "Tr" if case.split == "train" else "Ts"
            for kind in ("images", "labels"):
                Ledger(raw / f"{kind}{part}").enter(case.case, case.content, [])
        write_json(tmp_path / "splits.json", [{"val": ["b", "a"]}, {"val": ["c"]}])
        for split, names in (("val", "a b c"), ("test", "t1 t2")):
            for name in names.split():
                truth = generator.integers(0, 3, shape).astype(np.uint8)
                part = raw / ("labelsTr" if split == "val" else "labelsTs")
                if name != "t2":
                    draw(part / f"{name}.nii.gz", truth)
                for stage in ("raw", "postprocessed"):
                    guess = np.where(generator.random(shape) < 0.8, truth, 0).astype(np.uint8)
                    draw(folder / "predictions" / split / stage / f"{name}.nii.gz", guess)
                    table = folder / "predictions" / split / stage / "predictions.csv"
                    Ledger(table.parent).enter(name, "key", [table.parent / f"{name}.nii.gz"])
                    write_manifest(table, dict.fromkeys(names.split(), "key"))

    def run(rule=RULE, folds=(0, 1), options=()):
        main(
            predictions=sorted(folder.rglob("predictions.csv")),
            cases=tmp_path / "cases.csv",
            splits=tmp_path / "splits.json",
            folds=list(folds),
            labels=LABELS,
            tolerances_mm=dict.fromkeys(LABELS, 1.0),
            lesion_rule=rule,
            options=list(options),
            boundary_mm=None,
            raw=raw,
            threads=1,
            memory_mb=1000,
            metrics=folder / "metrics.csv",
            lesions=folder / "lesions.csv",
        )
        return read(folder / "metrics.csv"), read(folder / "lesions.csv")

    run.build, run.folder = build, folder
    return run


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_for_each_case_stage_and_label(predictor):
    predictor.build()
    rows, lesions = predictor()
    keys = {(row["split"], row["stage"], row["fold"], row["case"], row["label"]) for row in rows}
    assert len(keys) == len(rows) == 4 * 2 * 2  # cases with a reference, stages, labels
    assert {key[2:4] for key in keys} == {("0", "a"), ("0", "b"), ("1", "c"), ("all", "t1")}
    assert list(rows[0])[:6] == ["split", "stage", "fold", "case", "label", "dice"]
    assert {"reference_ml", "volume_difference_ml", "hd95", "nsd"} <= rows[0].keys()
    assert {row["label"] for row in rows if row["lesion_recall"]} == {"lesion"}
    assert {row["label"] for row in lesions} == {"lesion"}
    assert {row["kind"] for row in lesions} == {"reference", "prediction"}


def test_without_lesions_their_table_has_a_header_only(predictor):
    predictor.build()
    rows, lesions = predictor(rule=None)
    assert lesions == []
    header = "split,stage,fold,case,label,kind,lesion,volume_mm3,matched,dice,iou\n"
    assert (predictor.folder / "lesions.csv").read_text() == header
    assert {row["lesion_f1"] for row in rows} == {""}


def test_metrics_that_are_asked_for_are_columns(predictor):
    predictor.build()
    rows, _ = predictor(options=["cldice", "boundary_iou"])
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("cldice", "boundary_iou"))
    rows, _ = predictor()
    assert not {"cldice", "boundary_iou"} & rows[0].keys()


def test_pictures_have_areas(predictor):
    predictor.build(shape=(1, 8, 9))
    rows, lesions = predictor()
    assert float(rows[0]["reference_mm2"]) == 2 * (int(rows[0]["tp"]) + int(rows[0]["fn"]))
    assert not {"reference_ml", "volume_difference_ml"} & rows[0].keys()
    assert float(lesions[0]["area_mm2"]) > 0


def change_manifest(folder, split, **changes):
    table = folder / "predictions" / split / "raw" / "predictions.csv"
    known = {row["case"]: row["key"] for row in read(table)} | changes
    write_manifest(table, {case: key for case, key in known.items() if key})


def test_a_missing_case_is_named(predictor):
    predictor.build()
    change_manifest(predictor.folder, "val", b=None)
    with pytest.raises(FileNotFoundError, match=r"val/raw/predictions\.csv: cases without .*: b$"):
        predictor()


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_extra_case_is_named(predictor, split):
    predictor.build()
    change_manifest(predictor.folder, split, x="key")
    message = rf"{split}/raw/predictions\.csv: predictions of cases not expected: x$"
    with pytest.raises(ValueError, match=message):
        predictor()


def test_predictions_of_folds_that_are_not_evaluated_are_not_expected(predictor):
    predictor.build()
    with pytest.raises(ValueError, match=r"val/.*: predictions of cases not expected: c$"):
        predictor(folds=(0,))


def test_a_missing_file_is_named_before_any_work(predictor):
    predictor.build()
    (predictor.folder / "predictions/val/raw/c.nii.gz").unlink()
    with pytest.raises(Damaged, match="val/raw: a file of case 'c' is lost") as caught:
        predictor()
    assert caught.value.files == (predictor.folder / "predictions/val/raw/predictions.csv",)
    assert not (predictor.folder / "evaluation").exists()


def test_a_second_run_repeats_nothing_and_writes_the_same(predictor):
    predictor.build()
    predictor()
    records = {p: p.stat().st_mtime_ns for p in (predictor.folder / "evaluation").glob("*.json")}
    texts = [(predictor.folder / f"{name}.csv").read_text() for name in ("metrics", "lesions")]
    predictor()
    assert records == {p: p.stat().st_mtime_ns for p in records}
    assert texts == [
        (predictor.folder / f"{name}.csv").read_text() for name in ("metrics", "lesions")
    ]
