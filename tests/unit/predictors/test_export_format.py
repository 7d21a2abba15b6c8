import json
import zipfile

import pytest

from segflow.predictors.export_format import read_description

GOOD = {
    "format": 1,
    "dataset": "hippocampus",
    "nnunet_name": "Dataset004_hippocampus",
    "members": {"unet": 1.0},
    "folds": {"unet": [0, 1], "whole": ["all"]},
}


@pytest.fixture
def archive(tmp_path):
    def make(name="Dataset004_hippocampus/segflow/predictor.json", text=None, **changes):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr(name, text or json.dumps(GOOD | changes))
        return path

    return make


def test_an_exported_predictor_says_what_it_is(archive):
    assert read_description(archive()) == GOOD


def test_other_archives_say_nothing(archive, tmp_path):
    assert read_description(archive("Dataset004_hippocampus/x__y__z/plans.json")) is None
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 and no more")
    assert read_description(tmp_path / "torn.zip") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2 is not read; known: 1"),
        ({"text": "{"}, "predictor.json is not valid JSON"),
        ({"text": "[]"}, "format None is not read"),
        ({"nnunet_name": "Dataset005_x"}, "nnunet_name is not 'Dataset004_hippocampus'"),
        ({"dataset": "../x"}, "'../x' is no name of a data set or model"),
        ({"folds": {"unet": ["../0"]}}, "folds.unet: '../0' is no fold"),
        ({"folds": {"a/b": [0]}, "members": {}}, "'a/b' is no name"),
        ({"members": {"other": 1.0}}, "members: 'other' has no folds"),
    ],
)
def test_what_could_not_be_used_is_refused(archive, changes, message):
    with pytest.raises(ValueError, match=message):
        read_description(archive(**changes))
