import pytest
import yaml

from segflow.report.classes import published_classes
from segflow.report.published import contradiction, published_results
from segflow.run import descriptions
from segflow.run.descriptions import load_descriptions, load_published
from segflow.run.schemas import PROJECT

SHIPPED = sorted(path.stem for path in (PROJECT / "config" / "published").glob("*.yaml"))


def test_every_shipped_file_is_of_a_data_set_and_loads():
    datasets = load_descriptions("dataset")
    assert set(SHIPPED) <= datasets.keys()
    found = load_published(datasets)
    assert list(found) == SHIPPED
    for name, publications in found.items():
        known = {*datasets[name].get("labels", ()), *datasets[name].get("classes", ()), "all"}
        known |= datasets[name]["evaluated_regions"].keys()
        # The challenge's kidney is not the label of that name.
        known |= {"kidney_and_tumour"} if name == "kits19" else set()
        assert set(published_results(publications)["label"]) <= known, name


def rows_of(name):
    rows = published_results(load_published([name])[name])
    return rows.set_index(["predictor", "stage", "metric"])


def test_values_of_a_study_before_and_after_post_processing():
    rows = rows_of("breastdm")
    model = "nnU-Net 3d_fullres"
    assert rows.loc[(model, "raw", "dice"), "mean"] == 0.8334
    assert rows.loc[(model, "postprocessed", "iou"), "mean"] == 0.8052
    assert (rows.loc[[model], "note"] == "").all()


# What the studies of `config/studies` report: Dice, IoU, precision, recall; None where not told.
STUDIES = [
    ("breastdm", "nnU-Net 3d_fullres", "raw", (0.8334, 0.7343, 0.7877, None)),
    ("breastdm", "nnU-Net 3d_fullres", "postprocessed", (0.8698, 0.8052, 0.8760, None)),
    ("breastdm", "3D U-Net", "unstated", (0.665, 0.751, 0.833, None)),
    ("breastdm", "3D V-Net", "unstated", (0.656, 0.742, 0.771, None)),
    ("breastdm", "3D DenseSeg", "unstated", (0.670, 0.749, 0.841, None)),
    ("breastdm_2d", "Attention U-Net", "unstated", (0.825, 0.928, 0.721, None)),
    ("breastdm_2d", "U-Net VGG-16", "unstated", (0.704, 0.773, 0.796, None)),
    ("breastdm_2d", "UNeXt", "unstated", (0.701, 0.785, 0.863, None)),
    ("breastdm_2d", "PSPNet", "unstated", (0.727, 0.790, 0.729, None)),
    ("busi", "Encoder-decoder", "unstated", (0.904, 0.815, None, None)),
    ("busi", "U-Net++ with ResNet-34", "unstated", (0.761, 0.629, None, None)),
    ("busi", "Attention U-Net", "unstated", (None, 0.54, None, None)),
    ("inbreast", "U-Net", "unstated", (0.504, 0.404, 0.548, 0.486)),
    ("inbreast", "nnU-Net 2d, ensemble of five folds", "unstated", (0.825, 0.701, 0.834, 0.816)),
    ("inbreast", "nnU-Net 2d, lowest fold", "unstated", (None, 0.658, None, None)),
    ("inbreast", "nnU-Net 2d, highest fold", "unstated", (None, 0.694, None, None)),
    ("inbreast", "U-Net, 512 pixels, batch 4", "unstated", (None, 0.404, None, None)),
    ("inbreast", "U-Net, 768 pixels, batch 3", "unstated", (None, 0.404, None, None)),
    ("inbreast", "U-Net, 1024 pixels, batch 2", "unstated", (None, 0.257, None, None)),
]


@pytest.mark.parametrize(("dataset", "model", "stage", "values"), STUDIES)
def test_the_numbers_of_the_studies_are_there(dataset, model, stage, values):
    rows = rows_of(dataset)["mean"]
    metrics = ("dice", "iou", "precision", "recall")
    found = [rows.get((model, stage, metric)) for metric in metrics]
    assert tuple(found) == values


# The same name stands for two sources here.
@pytest.mark.parametrize(
    ("dataset", "values"), [("busi", (0.525, 0.46)), ("breastdm_2d", (0.49, 0.803))]
)
def test_the_u_net_of_two_sources_has_two_rows(dataset, values):
    assert tuple(rows_of(dataset).sort_index().loc[("U-Net", "unstated", "iou"), "mean"]) == values


def test_published_values_that_cannot_be_right_say_so():
    rows = rows_of("breastdm")
    note = "impossible on the same cases: IoU 0.751 is above Dice 0.665"
    assert (rows.loc[["3D U-Net"], "note"] == note).all()
    # 2 * 0.815 / 1.815 = 0.898
    rows = rows_of("busi")
    assert rows.loc[("Encoder-decoder", "unstated", "dice"), "note"] == (
        "impossible on the same cases: Dice 0.904 is above 0.898, the most that IoU 0.815 allows"
    )


@pytest.mark.parametrize(
    ("values", "impossible"),
    [
        ({"dice": 0.82, "iou": 0.7}, False),  # 2 * 0.7 / 1.7 = 0.824 is the most
        ({"dice": 0.825, "iou": 0.701}, False),  # 0.8242, but for the third digit
        ({"dice": 0.83, "iou": 0.701}, True),
        ({"dice": 0.5, "iou": 0.5}, False),  # half of the cases 1, the others 0
        ({"dice": 0.5, "iou": 0.52}, True),
        ({"dice": 1.0, "iou": 1.0}, False),
        ({"dice": 0.92, "iou": 0.84}, False),  # of 0.9154 and 0.8441, say
        ({"dice": 0.92, "iou": 0.83}, True),
        ({"dice": 0.9150, "iou": 0.8441}, False),  # 2 * 0.8441 / 1.8441 = 0.91546
        ({"dice": 0.9156, "iou": 0.8441}, True),
        ({"dice": 0.8, "iou": 0.8333}, True),
        ({"dice": 0.9, "iou": 0.9}, False),  # of 0.94 and 0.89
        ({"dice": 0.5}, False),
        ({"iou": 0.5}, False),
    ],
)
def test_what_is_impossible(values, impossible):
    assert bool(contradiction(values)) == impossible


RESULT = {"model": "m", "label": "a", "values": {"dice": 0.5}}
SOURCE = {"source": "s", "split": "val", "results": [RESULT]}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Let published results come from another project, and write those of the data set d."""
    monkeypatch.setattr(descriptions, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "published").mkdir(parents=True)

    def write(content):
        (tmp_path / "config" / "published" / "d.yaml").write_text(yaml.safe_dump(content))
        return load_published(["d", "without"])

    return write


def test_rows_hold_source_and_deviation(published):
    result = RESULT | {"sd": {"dice": 0.1}, "stage": "raw"}
    found = published({"x": SOURCE | {"table": "table 2", "results": [result]}})
    row = published_results(found["d"]).iloc[0].to_dict()
    assert row == {
        "predictor": "m",
        "split": "val",
        "stage": "raw",
        "label": "a",
        "metric": "dice",
        "mean": 0.5,
        "sd": 0.1,
        "published": "s, table 2",
        "note": "",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"top level: \{\} should be non-empty"),
        ({"x": {**SOURCE, "author": "a"}}, r"x: .*'author' was unexpected"),
        ({"x": {"split": "val", "results": [RESULT]}}, r"x: 'source' is a required property"),
        ({"x": {**SOURCE, "split": "train"}}, r"x\.split: 'train' is not one of"),
        (
            {"x": {**SOURCE, "results": [{**RESULT, "values": {"dice": 66.5}}]}},
            r"x\.results\.0\.values\.dice: 66\.5 is greater than the maximum of 1",
        ),
        (
            {"x": {**SOURCE, "results": [{**RESULT, "values": {"dsc": 0.5}}]}},
            r"x\.results\.0\.values: 'dsc' is not one of",
        ),
    ],
)
def test_a_wrong_file_is_refused(published, content, message):
    with pytest.raises(ValueError, match=rf"^config/published/d\.yaml: {message}"):
        published(content)


def test_no_results_are_an_empty_table():
    assert published_results({}).empty


def test_results_of_classes_are_apart_from_those_of_labels():
    results = [{**RESULT, "label": name} for name in ("lesion", "malignant", "macro")]
    results += [{"model": "m", "label": "all", "values": {"accuracy": 0.9, "dice": 0.8}}]
    results += [{"model": "m", "label": "macro", "values": {"f1": 0.7}}]
    found = {"x": {**SOURCE, "table": "", "results": results}}
    labels = published_results(found, ["malignant", "macro"])["label"]
    assert labels.tolist() == ["lesion", "all", "all"]
    classes = published_classes(found, ["benign", "malignant"])
    assert classes[["class", "metric", "value"]].to_numpy().tolist() == [
        ["all", "accuracy", 0.9],
        ["macro", "f1", 0.7],
    ]
