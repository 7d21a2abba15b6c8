import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import compare_predictors
import plot_comparisons
import plot_metrics
import summarise_metrics
from segflow.evaluation.agreement import volume_agreement
from segflow.evaluation.detection import (
    LESION_COLUMNS,
    VOXEL_COUNTS,
    lesion_detection,
    structure_detection,
)
from segflow.evaluation.metrics import METRICS, VOLUMES
from segflow.evaluation.summaries import arrange, summarise
from segflow.files.cases import write_cases
from segflow.report.metric_figures import MAX_PAIRS, draw_agreement, draw_comparisons
from segflow.report.tables import (
    agreed,
    bands,
    by_subgroup,
    detected_lesions,
    detected_structures,
    number,
    one_line,
    overview,
    p_text,
)

TITLES = {"q": "Model Q", "p": "Model P"}
RULE = {"metric": "iou", "limits": {"good": 0.7, "excellent": 0.85, "moderate": 0.5}}
PUBLISHED = {
    "paper": {
        "source": "Somebody 2020",
        "table": "",
        "split": "test",
        "results": [{"model": "Net", "label": "a", "values": {"dice": 0.5, "iou": 0.62}}],
    }
}
N_CASES = 6


@pytest.fixture
def metrics():
    generator = np.random.default_rng(0)
    keys = ["predictor", "split", "stage", "case", "label"]
    cases = [f"c{number}" for number in range(N_CASES)]
    levels = ["pq", ("val", "test"), ("raw", "postprocessed"), cases, "ab"]
    rows = pd.DataFrame(itertools.product(*levels), columns=keys)
    rows["case"] = rows["split"] + rows["case"]
    rows["fold"] = np.where(rows["split"] == "val", "0", "all")
    for name in [*METRICS, *VOLUMES]:
        rows[name] = generator.random(len(rows))
    for name in [*VOXEL_COUNTS, *LESION_COLUMNS]:
        rows[name] = generator.integers(0, 2, len(rows)).astype(float)
    return rows


@pytest.fixture
def written(metrics, tmp_path, make_case):
    """Write the tables that the scripts read; return their paths and that of the cases."""
    tables = {}
    for name, part in metrics.groupby("predictor"):
        tables[name] = tmp_path / f"{name}.csv"
        part.drop(columns="predictor").to_csv(tables[name], index=False)
    cases = [
        make_case(name, covariates={"sex": "MF"[int(name[-1]) % 2]})
        for name in set(metrics["case"])
    ]
    write_cases(tmp_path / "cases.csv", cases)
    return tables, tmp_path / "cases.csv"


def summary_of(metrics, groups=None):
    groups = groups or {case: case for case in metrics["case"]}
    penalties = dict.fromkeys(metrics["case"], 50.0)
    summary = summarise(arrange(metrics, list(METRICS), (), penalties), groups, seed=1)
    return summary.assign(published=np.nan, note="")


def test_an_overview_has_a_row_for_each_predictor_and_label_in_their_order(metrics):
    found = overview(summary_of(metrics), "val", ["dice", "hd95"], TITLES)
    assert found.columns.tolist() == ["predictor", "label", "cases", "Dice", "HD95 (mm)"]
    assert found["predictor"].tolist() == ["Model Q"] * 3 + ["Model P"] * 3
    assert found["label"].tolist() == ["a", "b", "all"] * 2
    assert (found["cases"] == N_CASES).all()


def test_a_cell_says_what_is_behind_its_number(metrics):
    chosen = (metrics["split"] == "val") & (metrics["label"] == "a")
    metrics.loc[chosen, "hd95"] = [1.0, 2.0, 3.0, 2.0, np.inf, np.nan] * 4
    found = overview(summary_of(metrics), "val", ["hd95", "dice"], TITLES).iloc[0]
    lines = found["HD95 (mm)"].split("\n")
    assert lines[0] == "2.00 (2.00 to 3.00)"
    assert lines[1].startswith("penalised mean 11.60, ")
    assert lines[2:] == ["mean of 4 finite 2.00 ± 0.82", "1 infinite", "1 undefined"]
    assert "±" in found["Dice"].split("\n")[0]
    assert " to " in found["Dice"].split("\n")[1]


def test_a_cell_gives_the_mean_over_groups_where_they_differ_from_cases(metrics):
    chosen = (metrics["split"] == "val") & (metrics["label"] == "a")
    metrics.loc[chosen, "dice"] = [0.2, 0.4, 0.9, 0.9, 0.9, 0.9] * 4
    groups = {case: "x" if case.endswith(("c0", "c1")) else case for case in metrics["case"]}
    cell = overview(summary_of(metrics, groups), "val", ["dice"], TITLES)["Dice"].iloc[0]
    assert cell.split("\n")[0].startswith("0.700 ± ")
    assert cell.split("\n")[-1] == "of 5 groups 0.780"  # 0.3 and four times 0.9


def test_a_published_distance_is_a_mean(metrics):
    ours = summary_of(metrics)
    row = {"predictor": "Net", "split": "val", "stage": "raw", "label": "a", "metric": "hd95"}
    row |= {"mean": 6.6, "published": "paper", "note": ""}
    found = overview(pd.concat([ours, pd.DataFrame([row])]), "val", ["hd95"], TITLES)
    assert found.loc["published", "HD95 (mm)"] == "mean 6.60"


def test_a_single_label_is_not_repeated_as_all(metrics):
    found = overview(summary_of(metrics[metrics["label"] == "a"]), "val", ["dice"], TITLES)
    assert found["label"].tolist() == ["a", "a"]


def test_a_metric_that_is_defined_nowhere_has_no_column(metrics):
    found = overview(summary_of(metrics.assign(nsd=np.nan)), "val", ["dice", "nsd"], TITLES)
    assert "NSD" not in found


def test_bands_by_hand(metrics):
    chosen = (metrics["predictor"] == "p") & (metrics["split"] == "val")
    chosen &= (metrics["stage"] == "postprocessed") & (metrics["label"] == "a")
    metrics.loc[chosen, "iou"] = [0.85, 0.851, 0.7, 0.5, 0.499, np.nan]
    split = arrange(metrics, ["dice", "iou"])[0]
    found = bands(split, RULE, TITLES)
    row = found[(found["predictor"] == "Model P") & (found["label"] == "a")].iloc[0].to_dict()
    assert row == {
        "predictor": "Model P",
        "label": "a",
        "cases": 6,
        "excellent (> 0.85)": "1 (17%)",
        "good (0.70 to 0.85)": "2 (33%)",
        "moderate (0.50 to 0.70)": "1 (17%)",
        "poor (< 0.50)": "1 (17%)",
        "undefined": "1 (17%)",
    }


def test_a_value_that_is_a_limit_of_a_band_to_rounding_is_the_limit(metrics):
    metrics["iou"] = np.resize([0.1 + 0.6, 0.7 - 1e-12, 0.85 + 1e-12, 0.5 - 1e-12], len(metrics))
    found = bands(arrange(metrics, ["iou"])[0], RULE, TITLES)
    assert (found["excellent (> 0.85)"] == "0 (0%)").all()
    assert (found["poor (< 0.50)"] == "0 (0%)").all()


@pytest.mark.parametrize(
    ("value", "metric", "sign", "text"),
    [
        (0.12345, "dice", "", "0.123"),
        (0.12345, "dice", "+", "+0.123"),
        (-0.0001, "dice", "+", "0.000"),
        (3.456, "hd95", "", "3.46"),
        (np.inf, "hd95", "+", "+inf"),
        (np.nan, "dice", "", "-"),
    ],
)
def test_numbers_as_text(value, metric, sign, text):
    assert number(value, metric, sign) == text


def test_p_as_text():
    assert [p_text(p) for p in (0.0001, 0.04, 1.0)] == ["p < 0.001", "p 0.040", "p 1.000"]


def test_one_line_keeps_everything():
    found = one_line(pd.DataFrame({"a\nb": ["1\n2\n3", "4"], "n": [5, 6]}))
    assert found.columns.tolist() == ["a b", "n"]
    assert found.to_numpy().tolist() == [["1 (2; 3)", 5], ["4", 6]]


def test_the_summary_is_written_in_every_format(written, tmp_path):
    tables, cases = written
    names = {"csv": "csv", "markdown": "md", "latex": "tex", "html": "html"}
    output = {name: tmp_path / f"summary.{suffix}" for name, suffix in names.items()}
    output |= {
        name: tmp_path / f"{name}.csv"
        for name in ("volumes", "lesions", "structures", "subgroups", "flow")
    }
    summarise_metrics.main(
        tables,
        cases,
        TITLES,
        "Title",
        ["b"],
        1,
        RULE,
        40.0,
        ["sex"],
        {"z": "an implant"},
        PUBLISHED,
        [],
        output,
    )
    summary = pd.read_csv(output["csv"], keep_default_na=False, na_values=[""])
    published = summary["published"].notna()
    assert set(summary.loc[~published, "predictor"]) == {"p", "q"}
    assert summary.loc[published, "predictor"].tolist() == ["Net", "Net"]
    assert summary.loc[published, "note"].str.contains("IoU 0.62 is above Dice 0.5").all()
    assert summary.loc[published, ["n", "ci_low", "fold"]].isna().all(axis=None)
    assert (summary.loc[~published, "n"] == N_CASES).all()
    for name in ("markdown", "latex", "html"):
        text = output[name].read_text()
        for part in ("Model P", "Cross-validation", "Dice", "0.85", "Somebody 2020"):
            assert part in text, (name, part)
        assert ("No part of the label all: b." in text) == (name != "latex")
        assert ("an infinite distance counts as 40.0 mm" in text) == (name != "latex")
    assert output["html"].read_text().count("<table") == 16
    assert 'class="published"' in output["html"].read_text()
    flow = pd.read_csv(output["flow"]).set_index("step")
    assert flow.loc["excluded", "reason"] == "an implant"
    assert flow.loc["found", "n_cases"] == 2 * N_CASES + 1
    subgroups = pd.read_csv(output["subgroups"])
    assert (subgroups["n"] == N_CASES / 2).all()
    found = by_subgroup(subgroups, "sex", "test", TITLES)
    assert found[["predictor", "label", "sex"]].to_numpy()[:4].tolist() == [
        ["Model Q", "a", "F"],
        ["Model Q", "a", "M"],
        ["Model Q", "b", "F"],
        ["Model Q", "b", "M"],
    ]
    assert "Cross-validation: by sex" in output["html"].read_text()


def test_the_agreement_of_volumes_is_shown_and_drawn(written, metrics, tmp_path):
    groups = {case: case for case in metrics["case"]}
    agreement = volume_agreement(arrange(metrics, VOLUMES), groups, seed=1)
    chosen = (agreement["predictor"] == "q") & (agreement["split"] == "test")
    chosen &= (agreement["stage"] == "postprocessed") & (agreement["label"] == "b")
    values = {"bias": -0.5, "ci_low": -1, "ci_high": 0.004, "limit_low": -2.5, "limit_high": 1.5}
    agreement.loc[chosen, list(values)] = list(values.values())
    found = agreed(agreement, "test", TITLES)
    assert found["predictor"].tolist() == ["Model Q"] * 2 + ["Model P"] * 2
    assert found["Bias (mL)"].iloc[1] == "-0.50\n-1.00 to 0.00"
    assert found["Limits of agreement (mL)"].iloc[1] == "-2.50 to +1.50"
    agreement.to_csv(tmp_path / "volumes.csv", index=False)
    figures = [tmp_path / f"{name}.png" for name in ("metrics", "volumes")]
    plot_metrics.main(written[0], tmp_path / "volumes.csv", TITLES, *figures)
    assert all(figure.stat().st_size > 1000 for figure in figures)
    shown = metrics[metrics["stage"] == "postprocessed"].replace({"predictor": TITLES})
    axis = draw_agreement(shown, agreement.replace({"predictor": TITLES})).axes[0]
    points = [line for line in axis.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in points] == [N_CASES, N_CASES]
    plt.close("all")


def test_a_predictor_without_validation_cases_has_rows_of_test_cases_only(written, tmp_path):
    tables, cases = written
    whole = pd.read_csv(tables["p"])
    whole[whole["split"] == "test"].to_csv(tables["p"], index=False)
    names = (
        "csv",
        "markdown",
        "latex",
        "html",
        "volumes",
        "lesions",
        "structures",
        "subgroups",
        "flow",
    )
    output = {name: tmp_path / name for name in names}
    summarise_metrics.main(
        tables, cases, TITLES, "Title", [], 1, RULE, None, [], {}, {}, [], output
    )
    validated, tested = output["markdown"].read_text().split("## Test cases", 1)
    assert "Model P" not in validated
    assert "Model P" in tested


def test_detection_is_shown_with_its_counts(metrics):
    groups = {case: case for case in metrics["case"]}
    metrics[["lesion_tp", "lesion_fn", "lesion_fp"]] = [2.0, 0.0, 0.0]
    metrics[["tp", "fp", "fn"]] = [5.0, 0.0, 1.0]
    chosen = (metrics["label"] == "b") & (metrics["case"] == "testc0")
    metrics.loc[chosen, ["lesion_tp", "lesion_fn", "lesion_fp"]] = [0.0, 2.0, 3.0]
    metrics.loc[chosen, ["tp", "fp", "fn"]] = [0.0, 7.0, 0.0]
    splits = arrange(metrics, [*VOXEL_COUNTS, *LESION_COLUMNS])
    lesions = detected_lesions(lesion_detection(splits, groups, 1), "test", TITLES)
    assert lesions["Sensitivity"].iloc[1].split("\n")[::2] == ["0.833", "10 of 12"]
    assert lesions["Precision"].iloc[1].split("\n")[::2] == ["0.769", "10 of 13"]
    assert lesions["False positives per case"].iloc[1].split("\n")[0] == "0.500"
    structures = structure_detection(splits, groups)
    found = detected_structures(structures, "test", TITLES)
    assert found[["predictor", "label"]].to_numpy().tolist() == [["Model Q", "b"], ["Model P", "b"]]
    assert found["Sensitivity"].iloc[0] == "1.000\n0.566 to 1.000\n5 of 5"
    assert found["Specificity"].iloc[0] == "0.000\n0 of 1"
    assert detected_structures(structures, "val", TITLES).empty


@pytest.mark.parametrize("chosen", ["pq", "p"])
def test_comparisons_are_written_and_drawn(written, tmp_path, chosen):
    tables, cases = written
    tables = {name: tables[name] for name in chosen}
    output = {"csv": tmp_path / "comparisons.csv", "html": tmp_path / "comparisons.html"}
    compare_predictors.main(tables, cases, TITLES, "Title", ["b"], None, output)
    found = pd.read_csv(output["csv"])
    assert len(found) == (6 * 2 * 2 * 3 if chosen == "pq" else 0)
    assert "effect_size" in found
    text = output["html"].read_text()
    assert ("Model P" in text) == (chosen == "pq")
    assert ("its steps were chosen on these very cases" in text) == (chosen == "pq")
    assert ("every group counts the same" in text) == (chosen == "pq")
    plot_comparisons.main(output["csv"], TITLES, tmp_path / "comparisons.png")
    assert (tmp_path / "comparisons.png").stat().st_size > 1000


def test_of_many_pairs_the_clearest_are_drawn():
    n_pairs = MAX_PAIRS + 5
    names = [f"p{number:02}" for number in range(n_pairs)]
    table = pd.DataFrame({"split": "val", "predictor": names, "other": "q", "n_groups": 9})
    table["hodges_lehmann"] = np.linspace(-0.1, 0.1, n_pairs)
    table["p"] = table["p_corrected"] = np.linspace(0, 1, n_pairs)
    table = table.assign(ci_low=-0.2, ci_high=0.2)
    axis = draw_comparisons(table, "Dice").axes[0]
    assert (
        axis.get_title() == f"cross-validation, 9 groups of cases, {MAX_PAIRS} of {n_pairs} pairs"
    )
    labels = [label.get_text().split()[0] for label in axis.get_yticklabels()]
    assert labels == names[:MAX_PAIRS][::-1]
    plt.close("all")
