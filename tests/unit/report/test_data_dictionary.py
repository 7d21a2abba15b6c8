import csv
import importlib
import json

import pytest
import yaml

import describe_tables
import write_label_colours
from segflow.evaluation.metrics import METRICS, columns
from segflow.images.palette import label_colours
from segflow.report.data_dictionary import (
    WORDS,
    describe_column,
    describe_table,
    described_tables,
)
from segflow.run.configuration import Run
from segflow.run.targets import target_files

TYPES = {"string", "integer", "number", "boolean"}
# The tables whose columns a module states.
STATED = {
    "cases.csv": "segflow.files.cases",
    "problems.csv": "segflow.datasets.problems",
    "near_duplicates.csv": "segflow.datasets.near_duplicates",
    "cohort.csv": "segflow.datasets.cohort",
    "brains.csv": "segflow.datasets.normalisation",
    "progress.csv": "segflow.models.progress",
    "costs.csv": "count_costs",
    "flow.csv": "segflow.evaluation.flow",
    "components.csv": "segflow.predictors.component_tables",
    "volumes.csv": "segflow.evaluation.agreement",
    "comparisons.csv": "segflow.evaluation.comparisons",
    "subgroups.csv": "segflow.evaluation.subgroups",
    "ranking.csv": "segflow.evaluation.ranking",
    "classification_summary.csv": "segflow.evaluation.classification",
    "classification_comparisons.csv": "segflow.evaluation.classifier_comparisons",
    "viewer.csv": "prepare_viewer",
}


@pytest.mark.parametrize("table", STATED)
def test_every_column_that_the_code_states_has_a_meaning(table):
    names = importlib.import_module(STATED[table]).COLUMNS
    assert [name for name in names if not describe_column(table, name)] == []


def test_metrics_have_the_units_that_readers_see():
    for flat in (True, False):
        for name in columns(flat, ["boundary_iou", "cldice"]):
            field = describe_column("metrics.csv", name)
            if name in METRICS:
                assert field.get("unit", "") == METRICS[name].unit


def test_words_are_well_formed():
    words = yaml.safe_load(WORDS.read_text())
    for part in (words, *words["tables"].values()):
        for entry in (*part.get("columns", {}).values(), *part.get("patterns", {}).values()):
            kind, _, meaning = entry
            assert kind in TYPES
            assert meaning[0] != " "
    assert describe_column("metrics.csv", "no_such") is None
    assert describe_column("cases.csv", "menopause")["description"] == "covariate of the data set"
    assert describe_column("classification.csv", "p_benign")["type"] == "number"


def test_a_target_asks_for_described_tables_only():
    run = Run({"datasets": ["busi"], "models": ["resenc_m_head"]})
    for name in target_files(run, "tables"):
        assert name.split("/")[-1] in described_tables()
    assert "<results>/busi/near_duplicates.csv" in target_files(run, "tables")


def test_a_package_holds_tables_with_hashes_and_units(tmp_path):
    path = tmp_path / "set" / "metrics.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["case", "hd95"], ["a", "inf"], ["b", ""]])
    found = describe_table(path, tmp_path)
    assert (found["name"], found["path"], found["bytes"]) == ("set-metrics", "set/metrics.csv", 22)
    assert found["schema"]["fields"][1] == {
        "name": "hd95",
        "type": "number",
        "description": "distance that 95 % of either surface do not exceed",
        "unit": "mm",
    }
    about = {"title": "A set", "license": "CC BY 4.0", "source": "our archive"}
    describe_tables.main([path], {"set": about}, tmp_path / "datapackage.json")
    package = json.loads((tmp_path / "datapackage.json").read_text())
    assert package["sources"] == [{"title": "A set (CC BY 4.0), from our archive"}]
    assert package["resources"][0]["hash"].startswith("sha256:")


def test_labels_have_the_colours_of_the_report_in_other_viewers(tmp_path):
    labels = {"background": 0, "left lung": 1, "heart": 2, "ignore": 3}
    assert label_colours(labels) == {1: (230, 159, 0), 2: (0, 158, 115)}
    write_label_colours.main(labels, tmp_path / "itksnap.txt", tmp_path / "slicer.ctbl")
    assert (tmp_path / "itksnap.txt").read_text().splitlines()[1:] == [
        '0 0 0 0 0 0 0 "Clear Label"',
        '1 230 159 0 1 1 1 "left lung"',
        '2 0 158 115 1 1 1 "heart"',
    ]
    assert (tmp_path / "slicer.ctbl").read_text().splitlines()[1:] == [
        "0 background 0 0 0 0",
        "1 left_lung 230 159 0 255",
        "2 heart 0 158 115 255",
    ]
