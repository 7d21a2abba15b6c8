from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from segflow.report.case_figures import Panel, draw_cases
from segflow.report.drawing import draw_message, save
from segflow.report.metric_figures import draw_froc, draw_metrics, draw_reliability
from segflow.report.model_figures import draw_learning_curves, draw_training

LABELS = {"background": 0, "a": 1, "b": 2}


@pytest.fixture(autouse=True)
def no_figures_are_left_open():
    yield
    plt.close("all")


@pytest.fixture
def progress():
    values = [1.0, 0.5, 0.25]
    names = ["train_loss", "val_loss", "score", "score_average", "learning_rate", "seconds"]
    named = {"score_name": ["pseudo Dice"] * 3}
    return pd.DataFrame({"epoch": range(3), **dict.fromkeys(names, values), **named})


@pytest.fixture
def metrics():
    rows = [
        {"predictor": predictor, "split": split, "case": case, "label": label, "dice": 0.5}
        for predictor in ("p", "q")
        for split in ("val", "test")
        for case in ("1", "2", "3")
        for label in ("a", "b")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def panel():
    reference = np.zeros((3, 4, 5), np.uint8)
    reference[1, 1:3, 1:3] = 1
    reference[2, 1, 1] = 2
    image = np.arange(60.0).reshape(3, 4, 5)
    label_maps = {"reference": reference, "prediction": reference}
    return Panel("case", {"T1": image, "T2": -image}, label_maps, (3.0, 2.0, 1.0))


def test_training_has_four_axes_with_a_line_for_each_fold(progress):
    figure = draw_training({0: progress, 2: progress}, "Model")
    assert [len(axis.lines) for axis in figure.axes] == [4, 4, 2, 2]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["fold 0", "fold 2"]
    assert figure.axes[2].lines[0].get_xdata().tolist() == [1, 2, 3]


@pytest.mark.parametrize("splits", [["val", "test"], ["val"], ["test"]])
def test_metrics_have_axes_for_each_split(metrics, splits):
    figure = draw_metrics(metrics[metrics["split"].isin(splits)], "dice", "Dice")
    names = {"val": "cross-validation (3 cases)", "test": "test cases (3 cases)"}
    assert [axis.get_title() for axis in figure.axes] == [names[split] for split in splits]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["p", "q"]


def test_metrics_show_every_case_that_is_defined(metrics):
    metrics.loc[(metrics["case"] == "1") & (metrics["label"] == "b"), "dice"] = np.nan
    figure = draw_metrics(metrics, "dice", "Dice")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in points] == [3, 2, 3, 2]


def test_metrics_may_be_undefined_everywhere(metrics):
    figure = draw_metrics(metrics.assign(dice=np.nan), "dice", "Dice")
    assert len(figure.axes) == 2


def test_cases_have_axes_for_each_channel_and_label_map(panel):
    figure = draw_cases([panel, replace(panel, title="2"), replace(panel, title="3")], LABELS)
    assert len(figure.axes) == 3 * 4
    assert [axis.get_title() for axis in figure.axes[:5]] == [
        "T1",
        "T2",
        "reference",
        "prediction",
        "",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_cases_show_the_slice_with_most_reference_in_its_proportions(panel):
    figure = draw_cases([panel], LABELS)
    shown = figure.axes[0].images[0]
    np.testing.assert_array_equal(shown.get_array(), panel.channels["T1"][1])
    assert figure.axes[0].get_aspect() == 2.0
    overlay = figure.axes[2].images[1].get_array()
    np.testing.assert_array_equal(overlay[..., 3] > 0, panel.label_maps["reference"][1] > 0)


def test_regions_are_shown_by_their_values(panel):
    figure = draw_cases([panel], {"background": 0, "whole": [1, 2], "core": 2})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rest of whole", "core"]


def test_a_reference_may_be_empty(panel):
    empty = np.zeros((3, 4, 5), np.uint8)
    assert len(draw_cases([replace(panel, label_maps={"reference": empty})], LABELS).axes) == 3


@pytest.mark.parametrize("count", [1, 4, 16])
def test_a_legend_lies_within_its_figure(panel, count):
    labels = {"background": 0} | {f"structure_with_a_name_{n}": n for n in range(1, count + 1)}
    figure = draw_cases([replace(panel, channels={"CT": panel.channels["T1"]})], labels)
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.width
    assert len(figure.legends) == 1
    assert len(figure.legends[0].get_texts()) == count


def test_a_message_has_no_axes():
    figure = draw_message("No test case has a reference.")
    assert figure.axes == []
    assert figure.texts[0].get_text() == "No test case has a reference."


def test_equal_figures_are_equal_files(progress, metrics, panel, tmp_path):
    for draw, arguments in (
        (draw_training, ({0: progress}, "Model")),
        (draw_metrics, (metrics, "dice", "Dice")),
        (draw_cases, ([panel], LABELS)),
    ):
        paths = [tmp_path / f"{draw.__name__}_{number}.png" for number in range(2)]
        for path in paths:
            save(draw(*arguments), path)
        first, second = (path.read_bytes() for path in paths)
        assert first == second
        assert first.startswith(b"\x89PNG")
        assert b"Software" not in first
    assert plt.get_fignums() == []


def test_reliability_has_a_panel_for_each_label_and_split():
    keys = [
        {"predictor": predictor, "split": split, "label": label}
        for predictor in ("p", "q")
        for split in ("val", "test")
        for label in ("a", "b")
    ]
    calibration = pd.DataFrame([{**key, "ece": 0.0124} for key in keys])
    bins = pd.DataFrame(
        [
            {**key, "bin": number, "share": 0.5, "probability": p, "observed": p / 2}
            for key in keys
            for number, p in ((0, 0.1), (14, 0.9))
        ]
    )
    figure = draw_reliability(calibration, bins)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title() == "a, cross-validation\nECE 0.012, 0.012"
    for axis in figure.axes:
        diagonal, *lines = axis.lines
        assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
        assert [line.get_xydata().tolist() for line in lines] == [[[0.1, 0.05], [0.9, 0.45]]] * 2


def test_froc_curves_go_on_to_the_last_operating_point():
    at = [*(0.125, 0.25, 0.5, 1, 2, 4, 8), "mean"]
    key = {"predictor": "p", "split": "val", "label": "a"}
    points = pd.DataFrame(
        [
            {
                **key,
                "false_positives_per_case": str(point),
                "sensitivity": 0.5,
                "sensitivity_low": 0.4,
                "sensitivity_high": 0.7,
            }
            for point in at
        ]
    )
    curves = pd.DataFrame(
        [{**key, "false_positives_per_case": 0.1, "sensitivity": 0.5, "threshold": 0.3}]
    )
    for curve, expected in ((curves, [0, 0.5, 0.5]), (curves[:0], [0, 0])):
        (axis,) = draw_froc(points, curve).axes
        line, markers = axis.lines
        assert line.get_ydata().tolist() == expected
        assert line.get_xdata()[-1] == 8
        assert len(markers.get_xdata()) == 7


def test_curves_of_several_models_lie_on_common_axes():
    tables = [
        pd.DataFrame(
            {
                "epoch": range(n),
                "score_average": np.linspace(0, 0.5, n),
                "score_name": "pseudo Dice",
                "seconds": 2.0,
            }
        )
        for n in (4, 10)
    ]
    figure = draw_learning_curves({"one": tables[:1], "two": tables})
    shares, seconds = figure.axes
    assert [line.get_xdata()[-1] for line in shares.lines] == [100, 100]
    assert [line.get_xdata()[-1] for line in seconds.lines] == [8, 14]  # the mean of the folds
    assert all(line.get_ydata()[-1] == 0.5 for line in shares.lines)
    plt.close(figure)
