import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_files import slice_tags, write_segmentation, write_series, write_structures
from segflow.datasets.conversion import (
    convert_cases,
    missing_labels,
    note_orientations,
    remove_other_cases,
)
from segflow.datasets.dataset_json import choose_reader, make_dataset_json
from segflow.datasets.problems import raise_problems
from segflow.datasets.reading import Target
from segflow.datasets.sources import Problem, SourceCase
from segflow.files.content import read_json, write_json
from segflow.images.nifti import describe_difference, read_image, read_labels

SHAPE = (2, 3, 4)
IMAGE = np.arange(24, dtype=np.float32).reshape(SHAPE)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1, 1:, 1:3] = [[1, 1], [2, 2]]
READING = {
    "spacing_mm": [3, 2, 1],
    "picture_mode": "grey",
    "label_values": {},
    "contours": [],
    "drop_blank_slices": False,
}


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def target(raw, tmp_path):
    return Target(raw, tmp_path / "converted", 1, frozenset({0, 1, 2}), READING)


@pytest.fixture
def add(raw, draw):
    """Add a case to the raw folder."""

    def add(name, image=IMAGE, label=LABELS, suffix=".nii.gz", **label_grid):
        return SourceCase(
            name,
            f"patient of {name}",
            "train",
            (draw(raw / f"{name}_image{suffix}", image),),
            (draw(raw / f"{name}_label{suffix}", label, **label_grid),),
        )

    return add


def severities(problems):
    return [problem.severity for problem in problems]


def test_a_published_case_is_taken_over_as_it_is(hippocampus, tmp_path):
    raw = tmp_path / "raw"
    files = ["imagesTr/hippocampus_001.nii.gz", "labelsTr/hippocampus_001.nii.gz"]
    for file in files:
        (raw / file).parent.mkdir(parents=True)
        shutil.copy(hippocampus / file, raw / file)
    target = Target(raw, tmp_path / "converted", 1, frozenset({0, 1, 2}), READING)
    source = SourceCase("h1", "h1", "train", (raw / files[0],), (raw / files[1],))
    (case,), problems, sha256 = convert_cases([source], target, 1)
    assert problems == []
    assert case.shape == "35 51 35"
    assert case.spacing_mm == "1 1 1"
    assert {raw / file for file in files} == sha256.keys()
    for file, name in zip(files, ["imagesTr/h1_0000.nii.gz", "labelsTr/h1.nii.gz"], strict=True):
        assert (target.folder / name).read_bytes() == (hippocampus / file).read_bytes()


def test_files_are_copied_where_links_are_impossible(add, target, monkeypatch):
    def refuse(source, link):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    source = add("a")
    convert_cases([source], target, 1)
    copy = target.folder / "imagesTr" / "a_0000.nii.gz"
    assert copy.read_bytes() == source.images[0].read_bytes()
    assert not copy.samefile(source.images[0])


def test_a_row_says_what_the_case_is(add, target):
    (case,), _, sha256 = convert_cases([add("a")], target, 1)
    assert (case.case, case.patient, case.group) == ("a", "patient of a", "patient of a")
    assert (case.images, case.label) == ("a_image.nii.gz", "a_label.nii.gz")
    assert (case.shape, case.spacing_mm) == ("2 3 4", "3 2 1")
    assert case.label_voxels == "2 2"
    assert case.label_volumes_mm3 == {1: 12, 2: 12}
    assert {case.image_sha256, case.label_sha256} == set(sha256.values())


def test_test_cases_go_to_their_own_folders_and_need_no_label(add, target):
    source = replace(add("a"), split="test", labels=None)
    (case,), problems, _ = convert_cases([source], target, 1)
    assert (case.label, case.label_sha256, problems) == ("", "", [])
    assert (target.folder / "imagesTs" / "a_0000.nii.gz").exists()
    assert not (target.folder / "labelsTs" / "a.nii.gz").exists()


def test_another_format_is_written_anew(add, target, make_grid):
    convert_cases([add("a", suffix=".nrrd")], target, 1)
    image, grid = read_image(target.folder / "imagesTr" / "a_0000.nii.gz")
    np.testing.assert_array_equal(image[0], IMAGE)
    assert describe_difference(grid, make_grid(SHAPE)) == ("", "")
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("n_files", [1, 2])
def test_channels_become_one_file_each(add, target, draw, raw, n_files):
    source = add("a")
    paths = [source.images[0], draw(raw / "a_second.nii.gz", IMAGE + 100)]
    if n_files == 1:
        both = sitk.JoinSeries([sitk.ReadImage(str(path)) for path in paths])
        sitk.WriteImage(both, str(raw / "a_all.nii.gz"))
        paths = [raw / "a_all.nii.gz"]
    source = replace(source, images=tuple(paths))
    (case,), problems, _ = convert_cases([source], replace(target, n_channels=2), 1)
    assert (case.shape, problems) == ("2 3 4", [])
    for number, expected in enumerate((IMAGE, IMAGE + 100)):
        found, _ = read_image(target.folder / "imagesTr" / f"a_{number:04d}.nii.gz")
        np.testing.assert_array_equal(found[0], expected)


def test_channels_must_lie_on_one_grid(add, target, draw, raw):
    shifted = draw(raw / "a_second.nii.gz", IMAGE, origin_mm=(10.0, 22.0, 30.0))
    source = add("a")
    source = replace(source, images=(*source.images, shifted))
    cases, problems, _ = convert_cases([source], replace(target, n_channels=2), 1)
    assert cases == []
    assert [problem.problem for problem in problems] == [
        "differs from channel 0 in origin (10 20 30 against 10 22 30); the first values are those "
        "of a_image.nii.gz"
    ]
    assert problems[0].file == "a_second.nii.gz"


def test_a_label_header_that_differs_by_rounding_is_repaired(add, target):
    source = add("a", origin_mm=(10.0001, 20.0, 30.0))
    (case,), problems, _ = convert_cases([source], target, 1)
    problem = "differs from its image by rounding in origin"
    assert problems == [
        Problem("a", "a_label.nii.gz", "repaired", problem, "took the image's header")
    ]
    labels, grid = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(labels, LABELS)
    assert grid == read_image(target.folder / "imagesTr" / "a_0000.nii.gz")[1]
    assert convert_cases([source], target, 1)[:2] == ([case], problems)  # also when reused


def test_a_flat_label_takes_the_header_of_its_image_of_one_slice(add, target, raw, draw):
    source = add("a", image=IMAGE[:1])
    flat = {"origin_mm": (10.0, 20.0), "direction": (1.0, 0.0, 0.0, 1.0)}
    label = draw(raw / "flat.nii.gz", LABELS[1:], spacing_mm=(1.0, 2.0, 1.0), **flat)
    _, problems, _ = convert_cases([replace(source, labels=(label,))], target, 1)
    assert [(p.severity, p.action) for p in problems] == [("repaired", "took the image's header")]
    written = [target.folder / f"{name}.nii.gz" for name in ("imagesTr/a_0000", "labelsTr/a")]
    image, labels = (read_image(path)[1] for path in written)
    assert len(image.origin_mm) == 3
    assert describe_difference(image, labels) == ("", "")


def test_a_label_with_a_negative_spacing_fits(add, target, raw):
    source = add("a", suffix=".nii")
    for path in source.files:
        content = bytearray(path.read_bytes())
        (spacing,) = struct.unpack_from("<f", content, 84)
        struct.pack_into("<f", content, 84, -spacing)
        path.write_bytes(content)
    (case,), problems, _ = convert_cases([source], target, 1)
    assert case.spacing_mm == "3 2 1"
    assert severities(problems) == ["repaired", "repaired"]


RAS = {**READING, "orientation": "RAS"}


def test_a_flat_axis_becomes_z_where_images_are_oriented(add, target):
    image, labels = IMAGE.reshape(4, 1, 6), np.tile(np.uint8([[0, 1, 2, 1, 0, 0]]), (4, 1, 1))
    source = add("a", image=image, label=labels)
    (stored,), problems, _ = convert_cases([source], target, 1)
    assert (stored.shape, stored.spacing_mm, problems) == ("4 1 6", "3 2 1", [])
    (case,), (repair,), _ = convert_cases([source], replace(target, reading=RAS), 1)
    assert (repair.severity, repair.action) == ("repaired", "made it z")
    assert (case.shape, case.spacing_mm, case.orientation) == ("1 4 6", "2 3 1", "LPS")
    assert case.content != stored.content
    array, grid = read_image(target.folder / "imagesTr" / "a_0000.nii.gz")
    np.testing.assert_array_equal(array[0, 0], image[:, 0])
    found, label_grid = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(found[0], labels[:, 0])
    assert describe_difference(grid, label_grid) == ("", "")
    assert choose_reader([case], target.folder, RAS) == "SimpleITKIO"


def test_nnunet_reorients_volumes_and_axial_slices(add, target, make_case):
    (slice_,), _, _ = convert_cases([add("a", image=IMAGE[:1], label=LABELS[:1])], target, 1)
    volume = make_case("v", orientation="LPS")
    assert choose_reader([volume, slice_], target.folder, RAS) == "SimpleITKIOWithReorient"
    assert choose_reader([volume], target.folder, READING) == "SimpleITKIO"
    assert choose_reader([volume, make_case("flat")], target.folder, RAS) == "SimpleITKIO"


def test_mixed_orientations_are_noted(make_case):
    names = ("LPS", "LPS", "RAI", "")
    cases = [make_case(f"c{i}", orientation=name) for i, name in enumerate(names)]
    [note] = note_orientations(cases, "stored")
    assert note.problem == "images are stored in 2 orientations: 2 LPS, 1 RAI"
    assert "reading.orientation" in note.action
    assert note_orientations(cases[:2], "stored") == []


@pytest.fixture
def study(add, draw, raw):
    """Return a case whose second channel and label have twice the spacing along y, to z = 2."""
    x, y, z = np.arange(8.0), np.arange(6.0) * 2, np.arange(4.0) * 3
    fine = 10 * z[:, None, None] + 2 * y[:, None] + x  # linear in mm
    coarse = fine[:, ::2]
    source = add("a", image=fine, label=np.uint8(fine > 40))
    second = draw(raw / "second.nii.gz", 100 + coarse, spacing_mm=(3.0, 4.0, 1.0))
    label = draw(raw / "coarse.nii.gz", np.uint8(coarse > 40), spacing_mm=(3.0, 4.0, 1.0))
    return replace(source, images=(*source.images, second)), label, fine


def test_channels_on_two_grids_are_told_apart(study, target):
    source, _, _ = study
    _, (problem,), _ = convert_cases([source], replace(target, n_channels=2), 1)
    assert problem.problem == (
        "differs from channel 0 in shape (4 6 8 against 4 3 8); the first values are those of "
        "a_image.nii.gz"
    )
    assert "reading.grid" in problem.action


def test_channels_are_resampled_to_the_first(study, target):
    source, _, fine = study
    reading = {**READING, "grid": "first channel"}
    target = replace(target, n_channels=2, reading=reading)
    (case,), (note,), _ = convert_cases([source], target, 1)
    assert (case.shape, note.severity) == ("4 6 8", "repaired")
    first, second = (
        read_image(target.folder / "imagesTr" / f"a_000{n}.nii.gz")[0][0] for n in (0, 1)
    )
    np.testing.assert_array_equal(first, fine)
    np.testing.assert_allclose(second[:, :5], 100 + fine[:, :5], rtol=1e-5)


def test_images_are_resampled_to_the_label_which_stays(study, target):
    source, label, fine = study
    source = replace(source, labels=(label,))
    target = replace(target, n_channels=2, reading={**READING, "grid": "label"})
    (case,), _, _ = convert_cases([source], target, 1)
    assert case.shape == "4 3 8"
    first = read_image(target.folder / "imagesTr" / "a_0000.nii.gz")[0][0]
    np.testing.assert_allclose(first, fine[:, ::2], rtol=1e-5)
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(labels, fine[:, ::2] > 40)
    unlabelled = replace(source, labels=None, split="test")
    assert convert_cases([unlabelled], target, 1)[0][0].shape == "4 6 8"


def with_value(array, value):
    array = array.astype(np.float32)
    array[0, 0, 0] = value
    return array


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        (
            {"image": with_value(IMAGE, np.nan), "suffix": ".nrrd"},
            "image",
            "NaN or infinite in 1 voxel",
        ),
        (
            {"image": with_value(IMAGE, np.inf), "suffix": ".nrrd"},
            "image",
            "NaN or infinite in 1 voxel",
        ),
        (
            {"label": with_value(LABELS, np.nan), "suffix": ".nrrd"},
            "label",
            "NaN or infinite in 1 voxel",
        ),
        (
            {"label": with_value(LABELS, 7)},
            "label",
            "label values 7 are not declared (allowed: 0, 1, 2)",
        ),
        (
            {"label": with_value(LABELS, 0.5)},
            "label",
            "label values 0.5 are not declared (allowed: 0, 1, 2)",
        ),
        (
            {"label": LABELS.astype(np.int16) - 1},
            "label",
            "label values -1 are not declared (allowed: 0, 1, 2)",
        ),
        (
            {"label": np.ones((2, 3, 5), np.uint8)},
            "label",
            "differs from its image in shape (2 3 4 against 2 3 5)",
        ),
        (
            {"origin_mm": (10.0, 20.0, 33.0)},
            "label",
            "differs from its image in origin (10 20 30 against 10 20 33)",
        ),
        (
            {"spacing_mm": (3.0, 2.0, 1.5)},
            "label",
            "differs from its image in spacing (3 2 1 against 3 2 1.5)",
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_values(add, target, change, file, message):
    cases, problems, _ = convert_cases([add("good", IMAGE + 1), add("a", **change)], target, 1)
    assert [case.case for case in cases] == ["good"]
    name = f"a_{file}{change.get('suffix', '.nii.gz')}"
    (problem,) = problems
    assert (problem.case, problem.file, problem.severity) == ("a", name, "error")
    assert problem.problem == message
    assert problem.action.startswith("mend or replace the file")


# SimpleITK reads NaN in NIfTI files as 0.
@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("file", "array"), [("image", IMAGE), ("label", LABELS)])
def test_nan_in_nifti_files_is_found(add, target, file, array, suffix, value):
    source = add("a", suffix=suffix, **{file: with_value(array, value)})
    cases, (problem,), _ = convert_cases([source], target, 1)
    assert cases == []
    assert problem.file == f"a_{file}{suffix}"
    assert problem.problem == "NaN or infinite in 1 voxel"


def test_nan_becomes_the_stated_value_in_images_alone(add, target):
    target = replace(target, reading={**READING, "not_finite": -1})
    image = with_value(with_value(IMAGE, np.nan), np.nan)
    _, (note,), _ = convert_cases([add("a", image=image)], target, 1)
    assert (note.severity, note.action) == ("repaired", "became -1")
    array, _ = read_image(target.folder / "imagesTr" / "a_0000.nii.gz")
    np.testing.assert_array_equal(array[0], np.where(np.isnan(image), -1, image))
    assert array.dtype == np.float32
    label = with_value(LABELS.astype(np.float32), np.nan)
    assert severities(convert_cases([add("b", label=label)], target, 1)[1]) == ["error"]


def truncate(content):
    return content[:-100]


def flip_a_byte(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("file", ["image", "label"])
@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".nrrd", truncate, "cannot be read ("),
        (".nii", truncate, "cannot be read as NIfTI ("),
        (".nii.gz", truncate, "the gzip file is damaged ("),
        (".nii.gz", flip_a_byte, "the gzip file is damaged ("),
    ],
)
def test_a_damaged_file_is_named(add, target, raw, file, suffix, damage, message):
    labels = np.random.default_rng(0).integers(0, 3, (8, 32, 32), np.uint8)  # hard to compress
    source = add("a", labels.astype(np.float32), labels, suffix)
    path = raw / f"a_{file}{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    cases, (problem,), _ = convert_cases([source], target, 1)
    assert cases == []
    assert problem.file == path.name
    assert problem.problem.startswith(message)


@pytest.mark.parametrize("file", ["image", "label"])
def test_a_missing_file_is_named(add, target, raw, file):
    source = add("a")
    (raw / f"a_{file}.nii.gz").unlink()
    cases, (problem,), _ = convert_cases([source], target, 1)
    assert cases == []
    assert (problem.file, problem.problem) == (f"a_{file}.nii.gz", "the file is missing")


def test_the_number_of_channels_must_be_the_declared_one(add, target):
    _, (problem,), _ = convert_cases([add("a")], replace(target, n_channels=2), 1)
    assert problem.problem == "1 channel, but the data set declares 2"


def test_what_was_converted_before_voxels_were_compared_is_read_once_more(add, target):
    source = add("a")
    (case,), _, _ = convert_cases([source], target, 1)
    record = target.folder / "imagesTr" / ".ledger" / "a.json"
    known = read_json(record)
    del known["facts"]["voxels"]
    write_json(record, known)
    assert convert_cases([source], target, 1)[0] == [case]
    assert read_json(record)["facts"]["voxels"] == case.voxels != ""


def test_a_training_case_without_reference_is_refused(add, target):
    source = replace(add("a"), labels=None)
    cases, (problem,), _ = convert_cases([source], target, 1)
    assert cases == []
    assert problem.problem == "the training case has no reference"
    without_labels = replace(target, labels=frozenset({0}))
    assert convert_cases([source], without_labels, 1)[1] == []


def test_a_blank_image_is_noted_and_has_no_key(add, target):
    (case,), (note,), _ = convert_cases([add("a", image=np.full(SHAPE, -1.5))], target, 1)
    assert case.voxels == ""
    assert (note.severity, note.problem) == ("note", "all voxels of channel 0 are -1.5")


def test_an_empty_label_map_is_noted_and_kept(add, target):
    cases, problems, _ = convert_cases([add("a", label=LABELS * 0)], target, 1)
    assert len(cases) == 1
    assert problems == [Problem("a", "a_label.nii.gz", "note", "the label map is empty", "kept")]


@pytest.fixture
def add_masks(add, draw, raw):
    """Add a case with one mask for each label, in which it has any value."""

    def add_masks(name, liver, spleen):
        masks = {"liver": liver, "spleen": spleen}
        paths = tuple(draw(raw / f"{name}_{label}.nii.gz", mask) for label, mask in masks.items())
        return replace(add(name), labels=paths, mask_values=(1, 2))

    return add_masks


@pytest.mark.parametrize("value", [1, 2, 255])
def test_each_mask_gives_its_label(add_masks, target, value):
    masks = [np.uint8(value * (label == LABELS)) for label in (1, 2)]
    (case,), problems, _ = convert_cases([add_masks("a", *masks)], target, 1)
    assert problems == []
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(labels, LABELS)
    swapped = convert_cases([add_masks("a", *masks[::-1])], target, 1)[0][0]
    assert swapped.content != case.content


def test_masks_that_overlap_or_hold_more_than_a_mask_are_refused(add_masks, target):
    whole, part = np.uint8(LABELS > 0), np.uint8(LABELS == 2)
    _, (clash,), _ = convert_cases([add_masks("a", whole, part)], target, 1)
    assert clash.problem == "another file has another label in 2 voxels"
    _, (wrong,), _ = convert_cases([add_masks("b", LABELS, part)], target, 1)
    assert wrong.problem == "a mask of one label holds 0 and one other value, found 1, 2"


def test_soft_masks_need_a_threshold(add_masks, target):
    soft = np.float32(0.6 * (LABELS == 1) + 0.2 * (LABELS == 2))
    source = add_masks("a", soft, np.float32(LABELS == 2))
    rules = {**READING, "label_threshold": 0.5}
    target = replace(target, reading=rules)
    convert_cases([source], target, 1)
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(labels, LABELS)


def test_labels_that_are_nowhere_or_rare_are_told(make_case):
    cases = [make_case(f"c{n}", label_voxels="5 0 1" if n < 4 else "5 0 0") for n in range(12)]
    labels = {"background": 0, "liver": 1, "spleen": 2, "cyst": 3, "organs": [2, 3]}
    found = [(p.severity, p.problem) for p in missing_labels(cases, labels)]
    assert found == [
        ("error", "label 'spleen' (2) is in no training case"),
        ("note", "label 'cyst' is in 4 of 12 training cases"),
        ("note", "label 'organs' is in 4 of 12 training cases"),
    ]


def test_whole_numbers_become_integers(add, target):
    convert_cases([add("a", label=LABELS.astype(np.float32))], target, 1)
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


def states(folder):
    """Return what changes when a file is written anew, by name."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_only_what_changed_is_converted_again(add, target, draw):
    sources = [add("a"), add("b", IMAGE + 1, suffix=".nrrd")]
    first = convert_cases(sources, target, 1)
    before = states(target.folder)
    assert convert_cases(sources[::-1], target, 1) == first
    assert states(target.folder) == before

    draw(sources[1].labels[0], LABELS[:, ::-1])
    convert_cases(sources, target, 1)
    after = states(target.folder)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"b_0000.nii.gz", "b.nii.gz", "b.json"}
    labels, _ = read_labels(target.folder / "labelsTr" / "b.nii.gz")
    np.testing.assert_array_equal(labels, LABELS[:, ::-1])


def test_other_rules_convert_again(add, target):
    source = add("a")
    convert_cases([source], target, 1)
    _, (problem,), _ = convert_cases([source], replace(target, labels=frozenset({0, 1})), 1)
    assert problem.problem == "label values 2 are not declared (allowed: 0, 1)"


def test_a_case_that_left_the_data_set_leaves_no_files(add, target):
    sources = [add("a"), add("b", IMAGE + 1)]
    convert_cases(sources, target, 1)
    remove_other_cases(sources[:1], "train", target)
    assert not [name for name in states(target.folder) if name.startswith("b")]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_without_cases_leaves_no_files_and_the_other_part_alone(add, target, part):
    sources = {"train": [add("a")], "test": [replace(add("b", IMAGE + 1), split="test")]}
    for name in sources:
        convert_cases(sources[name], target, 1)
    assert convert_cases([], target, 1) == ([], [], {})
    remove_other_cases([], part, target)
    left = {path.parent.name for path in target.folder.glob("*/*.nii.gz")}
    assert left == ({"imagesTs", "labelsTs"} if part == "train" else {"imagesTr", "labelsTr"})


def test_a_label_that_left_the_data_set_leaves_no_file(add, target):
    source = replace(add("a"), split="test")
    convert_cases([source], target, 1)
    unlabelled = replace(source, labels=None)
    (case,), _, _ = convert_cases([unlabelled], target, 1)
    remove_other_cases([unlabelled], "test", target)
    assert case.label == ""
    assert list((target.folder / "labelsTs").rglob("*.*")) == [target.folder / "labelsTs/.ledger"]
    assert (target.folder / "imagesTs" / "a_0000.nii.gz").exists()


def test_the_number_of_workers_makes_no_difference(add, target):
    sources = [add("a"), add("b", IMAGE + 1), add("c", IMAGE + 2, label=LABELS * 0)]
    alone = convert_cases(sources, replace(target, folder=target.folder / "1"), 1)
    assert convert_cases(sources, replace(target, folder=target.folder / "2"), 2) == alone


def test_raise_problems_lists_every_error(target):
    problems = [
        Problem("a", "a.nii.gz", "error", "the file is missing", "mend or replace the file"),
        Problem("b", "b.nii.gz", "note", "the label map is empty", "kept"),
        Problem("c", "c.nii.gz", "error", "4 voxels are NaN", "mend or replace the file"),
    ]
    with pytest.raises(ValueError, match="raw: 2 problems") as caught:
        raise_problems(problems, "raw")
    assert str(caught.value).splitlines()[1:] == [
        "  a.nii.gz: the file is missing (mend or replace the file)",
        "  c.nii.gz: 4 voxels are NaN (mend or replace the file)",
    ]
    raise_problems(problems[1:2], "raw")


def test_dataset_json_is_what_nnunet_reads(make_case):
    dataset = {
        "channels": ["T1", "T2"],
        "labels": {"background": 0, "tumour": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "title": "A title",
        "license": "CC0",
        "source": "https://example.org",
        "reading": READING,
    }
    cases = [make_case(f"c{n}", orientation="LPS", images="a.NII.GZ;b.nrrd") for n in range(7)]
    found = make_dataset_json(dataset, cases)
    assert (found["dimensions"], found["formats"]) == ([3], [".nii.gz", ".nrrd"])
    assert found["channel_names"] == {"0": "T1", "1": "T2"}
    assert found["labels"] == dataset["labels"]
    assert (found["numTraining"], found["file_ending"]) == (7, ".nii.gz")
    assert found["regions_class_order"] == [1, 2]
    del dataset["regions_class_order"]
    assert "regions_class_order" not in make_dataset_json(dataset, cases)


@pytest.fixture
def segmented(raw):
    """Return a series of slices with a segmentation and a structure set of one square."""
    axes = np.eye(3)
    write_series(raw / "series", IMAGE.astype(np.int16), (3.0, 2.0, 1.0), (5.0, 6.0, 7.0), axes)
    places = [slice_tags((3.0, 2.0, 1.0), (5.0, 6.0, 7.0), axes, index) for index in (0, 1)]
    organ, tumour = LABELS == 1, LABELS == 2
    frames = [(1, tumour[1], places[1]), (2, organ[1], places[1]), (2, organ[0], places[0])]
    write_segmentation(raw / "seg.dcm", frames, ["TUMOUR", "organ "])
    corners = np.array([[6, 8, 10], [7, 8, 10], [7, 10, 10], [6, 10, 10]], float)
    write_structures(raw / "rt.dcm", {"Organ": [corners, ("POINT", corners[:1])]})
    named = {"background": 0, "organ": 1, "tumour": 2}
    images, labels = (raw / "series",), (raw / "seg.dcm",)
    return SourceCase("a", "a", "train", images, labels, segment_values=named)


def test_segments_of_dicom_files_are_labels(segmented, raw, target):
    (case,), problems, _ = convert_cases([segmented], target, 1)
    assert problems == []
    assert case.label_voxels == "2 2"
    labels, grid = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    assert np.array_equal(labels, LABELS)
    assert (grid.spacing_mm, grid.origin_mm) == ((3.0, 2.0, 1.0), (5.0, 6.0, 7.0))

    contours = replace(segmented, labels=(raw / "rt.dcm",))
    (case,), (problem,), _ = convert_cases([contours], target, 1)
    assert (problem.severity, problem.file, problem.action) == ("note", "rt.dcm", "left out")
    assert problem.problem == "ROI 1 (Organ) has 1 contour without an inside (POINT)"
    assert np.array_equal(read_labels(target.folder / "labelsTr" / "a.nii.gz")[0], LABELS > 0)

    both = replace(segmented, labels=(raw / "rt.dcm", raw / "seg.dcm"))
    _, problems, _ = convert_cases([both], target, 1)
    assert "another file has another label in 2 voxels" in [one.problem for one in problems]


def test_renamed_labels_convert_files_with_names_again(segmented, target):
    convert_cases([segmented], target, 1)
    swapped = replace(segmented, segment_values={"background": 0, "organ": 2, "tumour": 1})
    (case,), _, _ = convert_cases([swapped], target, 1)
    assert case.label_voxels == "2 2"
    labels, _ = read_labels(target.folder / "labelsTr" / "a.nii.gz")
    assert np.array_equal(labels, np.array([0, 2, 1])[LABELS])


def test_segments_that_are_no_label_stop_the_case(segmented, target):
    named = {"background": 0, "organ": 1}
    cases, (problem,), _ = convert_cases([replace(segmented, segment_values=named)], target, 1)
    assert cases == []
    assert (problem.severity, problem.file) == ("error", "seg.dcm")
    assert problem.problem.startswith("no label is declared for segment 1 'TUMOUR' (there: ")


def test_a_folder_may_hold_the_segments_of_a_case(segmented, raw, target):
    """As archives have them: a folder for each series, also one beside the slices themselves."""
    (raw / "rt").mkdir()
    (raw / "rt.dcm").rename(raw / "rt/1-1.dcm")
    (raw / "seg.dcm").rename(raw / "series/seg.dcm")
    for folder, expected in (("rt", LABELS > 0), ("series", LABELS)):
        case = replace(segmented, labels=(raw / folder,))
        (_,), problems, sha256 = convert_cases([case], target, 1)
        assert {problem.file for problem in problems} <= {"rt/1-1.dcm"}
        assert raw / "rt/1-1.dcm" in sha256 or folder == "series"
        assert np.array_equal(read_labels(target.folder / "labelsTr/a.nii.gz")[0], expected)
        again = (target.folder / "labelsTr/a.nii.gz").stat().st_mtime_ns
        assert convert_cases([case], target, 1)[1] == problems
        assert (target.folder / "labelsTr/a.nii.gz").stat().st_mtime_ns == again


def test_images_take_the_grid_on_which_segments_are_drawn(segmented, raw, target):
    """A series on a finer grid comes to that of the one which was segmented."""
    fine = np.arange(192, dtype=np.int16).reshape(4, 6, 8)
    write_series(raw / "fine", fine, (1.5, 1.0, 0.5), (5.0, 6.0, 7.0), SeriesInstanceUID="1.2.3")
    case = replace(segmented, images=(raw / "fine", raw / "series"))
    both = replace(target, n_channels=2)
    _, problems, _ = convert_cases([case], both, 1)
    assert any("differs from channel 0" in problem.problem for problem in problems)
    asked = replace(both, reading=READING | {"grid": "label"})
    (converted,), (problem,), _ = convert_cases([case], asked, 1)
    assert converted.shape == "2 3 4"
    assert problem.file == "fine"
    assert problem.action == "resampled linearly to the grid of channel 1"
    assert np.array_equal(read_labels(target.folder / "labelsTr/a.nii.gz")[0], LABELS)
    array, _ = read_image(target.folder / "imagesTr/a_0001.nii.gz")
    assert np.array_equal(array[0], IMAGE)
    alone = replace(segmented, images=(raw / "fine", raw / "fine"))
    cases, (problem,), _ = convert_cases([alone], asked, 1)
    assert cases == []
    assert (problem.file, problem.severity) == ("seg.dcm", "error")
    assert "off the grid" in problem.problem


def test_segments_of_a_single_slice_are_a_2d_label(segmented, raw, target):
    (raw / "one").mkdir()
    slices = sorted((raw / "series").glob("*.dcm"))
    heights = {float(pydicom.dcmread(path).ImagePositionPatient[2]): path for path in slices}
    shutil.copy(heights[10.0], raw / "one/1.dcm")
    place = slice_tags((3.0, 2.0, 1.0), (5.0, 6.0, 7.0), np.eye(3), 1)
    frames = [(1, LABELS[1] == 2, place), (2, LABELS[1] == 1, place)]
    label = write_segmentation(raw / "one.dcm", frames, ["tumour", "organ"])
    alone = replace(segmented, images=(raw / "one",), labels=(label,))
    (case,), problems, _ = convert_cases([alone], target, 1)
    assert problems == []
    assert (case.shape, case.orientation) == ("1 3 4", "")
    label, _ = read_labels(target.folder / "labelsTr/a.nii.gz")
    assert np.array_equal(label[0], LABELS[1])
