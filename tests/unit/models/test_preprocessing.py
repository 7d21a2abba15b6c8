import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from segflow.images.nifti import read_image, read_labels
from segflow.models import preprocessing
from segflow.models.preprocessing import (
    load_preprocessed,
    preprocess_cases,
    preprocessed_folder,
    preprocessing_key,
)

DATASET = {
    "labels": {"background": 0, "anterior": 1, "posterior": 2},
    "channel_names": {"0": "MRI"},
    "file_ending": ".nii.gz",
}


@pytest.fixture
def key(base_plans):
    """Return the key of plans and description after a change of them."""

    def key(change=lambda plans, dataset: None):
        plans, dataset = deepcopy(base_plans), deepcopy(DATASET)
        change(plans, dataset)
        return preprocessing_key(PlansManager(plans), "3d_fullres", dataset)

    return key


def other_spacing(plans, dataset):
    plans["configurations"]["3d_fullres"]["spacing"] = [1.0, 1.0, 2.0]


def other_axes(plans, dataset):
    plans["transpose_forward"] = [1, 0, 2]


def other_labels(plans, dataset):
    dataset["labels"]["third"] = 3


def other_batch(plans, dataset):
    plans["configurations"]["3d_fullres"]["batch_size"] = 9


def other_network(plans, dataset):
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [1]


def other_intensities(plans, dataset):
    plans["foreground_intensity_properties_per_channel"]["0"]["mean"] = 6.0


@pytest.mark.parametrize("change", [other_spacing, other_axes, other_labels])
def test_what_preprocessing_depends_on_changes_the_key(key, change):
    assert key(change) != key()


@pytest.mark.parametrize("change", [other_batch, other_network, other_intensities])
def test_what_it_does_not_depend_on_leaves_the_key(key, change):
    assert key(change) == key()


def test_intensities_count_where_they_normalise(key):
    def computed_tomography(plans, dataset):
        plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"]

    def brighter(plans, dataset):
        computed_tomography(plans, dataset)
        other_intensities(plans, dataset)

    assert key(brighter) != key(computed_tomography)


def test_the_procedure_counts(key, monkeypatch):
    before = key()
    monkeypatch.setattr(preprocessing, "PROCEDURE", preprocessing.PROCEDURE + 1)
    assert key() != before


def test_test_cases_have_a_folder_of_their_own():
    folders = [preprocessed_folder(Path("r"), "Dataset004_h", "p_2d", p) for p in ("train", "test")]
    assert [str(folder) for folder in folders] == [
        "r/nnUNet_preprocessed/Dataset004_h/p_2d",
        "r/nnUNet_preprocessed/Dataset004_h/p_2d_test",
    ]


@pytest.fixture
def preprocess(hippocampus, tmp_path, base_plans, make_case):
    """Preprocess two real cases, the second with a content of its own."""
    raw = tmp_path / "raw"
    names = ["hippocampus_001", "hippocampus_003"]
    for folder, ending in (("imagesTr", "_0000"), ("labelsTr", "")):
        (raw / folder).mkdir(parents=True)
        for name in names:
            source = hippocampus / folder / f"{name}.nii.gz"
            (raw / folder / f"{name}{ending}.nii.gz").write_bytes(source.read_bytes())

    def preprocess(content="1", n_cases=2):
        cases = [make_case(names[0]), make_case(names[1], content=content)][:n_cases]
        plans, target = PlansManager(base_plans), tmp_path / "preprocessed"
        keys = preprocess_cases(cases, raw, DATASET, plans, "3d_fullres", target, 1, 1000)
        return keys, target

    return preprocess


def test_real_cases_are_normalised_on_their_grid(preprocess, hippocampus):
    keys, folder = preprocess()
    for name in keys:
        data, properties = load_preprocessed(folder, name)
        (image,), _ = read_image(hippocampus / "imagesTr" / f"{name}.nii.gz")
        box = tuple(slice(*bounds) for bounds in properties["bbox_used_for_cropping"])
        part = image[box].astype(np.float32)
        expected = (part - part.mean()) / part.std()  # the spacing is the planned one already
        np.testing.assert_allclose(data[0], expected, atol=1e-4)
        label_map, _ = read_labels(hippocampus / "labelsTr" / f"{name}.nii.gz")
        assert [len(properties["class_locations"][value]) > 0 for value in (1, 2)] == [True, True]
        assert label_map.shape == properties["shape_before_cropping"]


def test_only_what_changed_is_preprocessed_again(preprocess):
    first, folder = preprocess()
    before = {path.name: path.stat().st_ino for path in folder.glob("*.b2nd")}
    second, _ = preprocess(content="2")
    after = {path.name: path.stat().st_ino for path in folder.glob("*.b2nd")}
    assert {name for name in first if first[name] != second[name]} == {"hippocampus_003"}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"hippocampus_003.b2nd", "hippocampus_003_seg.b2nd"}
    preprocess(n_cases=1)
    assert not list(folder.glob("hippocampus_003*"))


def test_what_a_stopped_job_left_is_not_added_to(preprocess, tmp_path):
    expected = load_preprocessed(preprocess()[1], "hippocampus_001")[0]
    whole = (tmp_path / "preprocessed/hippocampus_001.b2nd").read_bytes()
    shutil.rmtree(tmp_path / "preprocessed")
    unfinished = tmp_path / "preprocessed/.partial"
    unfinished.mkdir(parents=True)
    for name in ("hippocampus_001.b2nd", "hippocampus_003.b2nd"):
        (unfinished / name).write_bytes(whole[: len(whole) // 2])
    found = load_preprocessed(preprocess()[1], "hippocampus_001")[0]
    np.testing.assert_array_equal(found, expected)
