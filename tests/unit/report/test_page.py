import json

import jinja2
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from segflow.files.cases import Case
from segflow.report.facts import describe_cases, describe_run
from segflow.report.page import as_json, embed, fill_checklist, heat, references, write_methods
from segflow.run.configuration import Run
from segflow.run.descriptions import description_names

RECORD = {
    "versions": {"nnunetv2": "2.8", "torch": "2.9", "snakemake": "9.1"},
    "git_commit": "abc",
    "machine": {},
}


def test_no_text_of_the_data_ends_a_script_and_what_is_no_number_is_null():
    text = as_json({"a": "</script>", "b": [np.nan, np.inf, -np.inf], "c": np.float64(1 / 3)})
    assert "<" not in text
    found = json.loads(text)
    assert found == {"a": "</script>", "b": [None, "inf", "-inf"], "c": 0.33333}


def test_figures_lie_in_the_page(tmp_path):
    Image.new("RGBA", (4000, 1000), "red").save(tmp_path / "one.png")
    found = embed(tmp_path / "one.png", "One", "A figure")
    assert found.address.startswith("data:image/webp;base64,")
    assert (found.width, found.height) == (2200, 550)


def test_a_heat_map_has_the_colours_of_each_row():
    values = pd.DataFrame({"a": [0.9, 0.2], "b": [0.8, np.nan]}, index=["one", "two"])
    (name, (best, worst)), (_, (only, missing)) = heat(values)
    assert name == "one"
    assert (best["text"], best["colour"]) == ("0.900", "hsl(203 75% 94%)")
    assert worst["colour"] == "hsl(203 75% 52%)"
    assert only["text"] == "0.200"
    assert missing == {"text": "-", "colour": ""}


@pytest.fixture
def facts():
    """Facts of the demonstration, with a case of each part."""
    config = {"datasets": ["hippocampus"], "models": ["unet_2d_quick", "unet_3d_quick"]}
    run = Run({**config, "ensembles": {"both": {"members": config["models"]}}})
    columns = ["class_label", "images", "label", "image_sha256", "label_sha256", "content"]
    cases = [
        Case(name, patient, patient, split, *columns, "3 4 5", "1 1 1")
        for name, patient, split in (("a", "1", "train"), ("b", "1", "train"), ("c", "2", "test"))
    ]
    titles = {name: run.title(name) for name in run.predictors}
    members = {name: list(own) for name, own in run.predictors.items()}
    found = describe_run(
        run.config, run.datasets, run.models, titles, members, RECORD, "the mean Dice"
    )
    flow = [{"step": "excluded", "n_cases": 2, "reason": "no label"}]
    described = run.datasets["hippocampus"]
    found["datasets"] = [describe_cases("hippocampus", described, cases, flow, "It is best.")]
    found |= {"covariates": [], "segmented": True, "classified": False}
    return found, run.datasets


def test_methods_say_what_was_done_and_cite_what_they_name(facts):
    found, datasets = facts
    text = write_methods(found)
    for said in (
        "2 cases of 1 patient for cross-validation and 1 case for tests, in 2 groups",
        "2 (no label) were excluded",
        "divided into 5 folds (seed 12345)",
        "Both averages the probabilities of 2D U-Net, quick schedule, 3D U-Net, quick schedule.",
        "at tolerances of 1 mm",
        "chosen by the mean Dice of the validation cases",
    ):
        assert said in text
    entries = references(text, datasets)
    for key in ("isensee2021", "data_hippocampus", "wilcoxon1945", "nikolov2021"):
        assert f"{{{key}," in entries
        assert f"[@{key}]" in text
    assert "demsar2006" not in entries  # of several data sets


def test_every_key_that_methods_cite_is_a_reference(facts):
    found, datasets = facts
    found["datasets"] = found["datasets"] * 2
    text = write_methods(found)
    cited = {part.split("]")[0] for part in text.split("[@")[1:]}
    assert cited == {
        entry.split("{", 1)[1].split(",", 1)[0]
        for entry in references(text, datasets).split("\n\n")
    }


def test_checklists_are_filled_from_what_is_known(facts):
    parts = fill_checklist(facts[0])
    items = {str(item["item"]): item for part in parts for item in part["items"]}
    assert [name for name in items if name.isdigit()] == [str(n) for n in range(1, 43)]
    assert items["42"]["here"] == ""  # funding
    assert items["23"]["here"].startswith("nnU-Net 2.8, PyTorch 2.9")
    assert "10 networks" in items["25"]["here"]
    assert items["35"]["here"] == "It is best."


def test_a_misspelt_name_in_a_template_is_an_error(facts):
    with pytest.raises(jinja2.UndefinedError):
        write_methods({name: value for name, value in facts[0].items() if name != "seed"})


def test_every_shipped_model_can_be_described():
    names = description_names("model")
    run = Run({"datasets": ["busi"], "models": names})
    found = describe_run(
        run.config, run.datasets, run.models, run.models, {}, RECORD, "the mean Dice"
    )
    assert len(found["models"]) == len(run.models)
    assert yaml.safe_dump(found["asked"])
