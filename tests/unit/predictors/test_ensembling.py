import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.ensembling.ensemble import merge_files
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from scipy.special import expit, softmax

from discard_probabilities import main as discard_probabilities
from layouts import SAMPLES
from predictions import make_probabilities
from segflow.files.cases import read_rows
from segflow.files.manifests import write_manifest
from segflow.images import probabilities
from segflow.images.nifti import read_image, read_labels, write_image
from segflow.images.probabilities import LEVELS, MAX_ERROR, open_probabilities, save_probabilities
from segflow.predictors import ensembling
from segflow.predictors.ensembling import ensemble_cases, gather_members, label_map_of

SHAPE = (3, 7, 5, 4)  # class or region, z, y, x
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": [3]}
ORDER = [1, 2, 3]


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch):
    monkeypatch.setattr(probabilities, "TILE", (3, 32, 40))


@pytest.fixture
def classes(tmp_path):
    """Store the softmax of two members."""
    members = softmax(np.random.default_rng(0).normal(size=(2, *SHAPE)), 1).astype(np.float32)
    paths = [tmp_path / f"{number}.b2nd" for number in range(2)]
    for path, member in zip(paths, members, strict=True):
        save_probabilities(path, member, True)
    return paths, members


@pytest.fixture
def regions(tmp_path):
    """Store the sigmoid of one member."""
    member = expit(np.random.default_rng(0).normal(size=SHAPE)).astype(np.float32)
    save_probabilities(tmp_path / "r.b2nd", member, False)
    return [tmp_path / "r.b2nd"], member


def store(path, columns, with_background):
    """Store one row of voxels, given as one list a class or region."""
    save_probabilities(path, np.array(columns, np.float32)[:, None, None], with_background)
    return path


@pytest.mark.parametrize("weights", [[1.0, 1.0], [3, 3], [1.0, 2.5], [0.01, 1e6]])
def test_classes_take_the_label_of_the_largest_mean(classes, weights):
    paths, members = classes
    found = label_map_of(paths, weights, None)
    mean = np.average(members, axis=0, weights=weights)
    clear = np.diff(np.sort(mean, 0)[-2:], axis=0)[0] > 3 * MAX_ERROR  # not decided by rounding
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], mean.argmax(0)[clear])
    assert found.dtype == np.uint8


@pytest.mark.parametrize("weights", [[1, 1, 1], [2, 1, 5]])
def test_sums_of_levels_are_exact(weights, tmp_path):
    # Thirds, which levels hold exactly: many sums are equal.
    drawn = np.random.default_rng(0).multinomial(3, [0.4, 0.3, 0.3], (3, 8, 40, 50)) / 3
    paths = [tmp_path / f"{number}.b2nd" for number in range(3)]
    sums = np.zeros((3, 8, 40, 50), int)
    for path, member, weight in zip(paths, np.moveaxis(drawn, -1, 1), weights, strict=True):
        save_probabilities(path, member, True)
        levels = open_probabilities(path).levels[:].astype(int)
        sums[1:] += weight * levels
        sums[0] += weight * (LEVELS - levels.sum(0))
    assert (np.diff(np.sort(sums, 0)[-2:], axis=0) == 0).mean() > 0.01
    np.testing.assert_array_equal(label_map_of(paths, weights, None), sums.argmax(0))


def test_equal_means_take_the_lowest_label(tmp_path):
    halves = store(tmp_path / "a.b2nd", [[0.5, 0.0, 0.2], [0.5, 0.5, 0.4], [0, 0.5, 0.4]], True)
    other = store(tmp_path / "b.b2nd", [[0.5, 1.0, 0.2], [0.5, 0.0, 0.4], [0, 0.0, 0.4]], True)
    assert label_map_of([halves], [1.0], None).tolist() == [[[1, 1, 1]]]
    assert label_map_of([halves, other], [1.0, 1.0], None).tolist() == [[[1, 0, 1]]]


def test_half_a_level_decides_between_background_and_one_class(tmp_path):
    # One half lies between two levels and is rounded to the even one, 2048: just above the
    # background. nnU-Net, which keeps the equality, takes the background.
    path = store(tmp_path / "a.b2nd", [[0.5, 0.5002, 0.4998], [0.5, 0.4998, 0.5002]], True)
    assert label_map_of([path], [1.0], None).tolist() == [[[1, 0, 1]]]


def test_regions_are_painted_over_each_other_in_order(tmp_path):
    columns = [[0.9, 0.9, 0.9, 0.4], [0.1, 0.9, 0.9, 0.4], [0.1, 0.1, 0.9, 0.9]]
    path = store(tmp_path / "a.b2nd", columns, False)
    assert label_map_of([path], [1.0], ORDER).tolist() == [[[1, 2, 3, 3]]]
    assert label_map_of([path], [1.0], [3, 1, 2]).tolist() == [[[3, 1, 2, 2]]]


def test_weights_count_for_regions(tmp_path):
    one = store(tmp_path / "a.b2nd", [[0.9, 0.6]], False)
    other = store(tmp_path / "b.b2nd", [[0.2, 0.3]], False)
    assert label_map_of([one, other], [1.0, 1.0], [1]).tolist() == [[[1, 0]]]
    assert label_map_of([one, other], [1.0, 3.0], [1]).tolist() == [[[0, 0]]]
    assert label_map_of([one, other], [3.0, 1.0], [1]).tolist() == [[[1, 1]]]


def test_the_number_of_members_has_no_limit(classes):
    paths, _ = classes
    few = label_map_of(paths, [1.0, 1.0], None)
    np.testing.assert_array_equal(label_map_of(paths * 30, [1.0] * 60, None), few)


def test_memory_does_not_grow_with_members(monkeypatch, tmp_path):
    monkeypatch.setattr(probabilities, "TILE", (4, 32, 32))
    path = tmp_path / "a.b2nd"
    generator = np.random.default_rng(0)
    members = softmax(generator.normal(size=(4, 64, 64, 64)), 0).astype(np.float32)
    save_probabilities(path, members, True)
    label_map_of([path], [1.0], None)  # what is allocated once
    peaks = []
    for number in (2, 20):
        tracemalloc.start()
        label_map_of([path] * number, [1.0] * number, None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < members.nbytes / 4


def test_large_labels_need_a_larger_type(regions):
    found = label_map_of(regions[0], [1.0], [1, 2, 300])
    assert (found.dtype, found.max()) == (np.uint16, 300)


def nnunet_label_map(folder, image, members, labels, order):
    """Return what `nnUNetv2_ensemble` makes of the members' probabilities."""
    reader = SimpleITKIO()
    _, properties = reader.read_images([str(image)])
    files = []
    for number, member in enumerate(members):
        files.append(str(folder / f"member_{number}.npz"))
        np.savez_compressed(files[-1], probabilities=member)
        Path(files[-1]).with_suffix(".pkl").write_bytes(pickle.dumps(properties))
    manager = LabelManager(labels, order)
    merge_files(files, str(folder / "nnunet"), ".nii.gz", reader, manager)
    return read_labels(folder / "nnunet.nii.gz")[0]


def hippocampus_case(folder):
    path = sorted((folder / "labelsTr").glob("*.nii.gz"))[0]
    return read_labels(path)[0]


def sample(name, box):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return read_labels(path)[0][box]


KITS = "kits19/case_00044/segmentation.nii.gz"
AMOS = "amos22/labelsVa/amos_0013.nii.gz"
BRATS = "BraTS2021/BraTS2021_90001/BraTS2021_90001_seg.nii.gz"
KITS_BOX = np.s_[330:420, 265:345, 20:55]
AMOS_BOX = np.s_[30:46, 180:280, 180:280]
BRATS_BOX = np.s_[60:100, 60:160, 60:160]
BRATS_REGIONS = {"background": 0, "whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]}


@pytest.mark.parametrize("weights", [[1.0] * 5, [1.0, 1.0, 2.0]])
@pytest.mark.parametrize(
    ("source", "labels", "order"),
    [
        ("hippocampus", {"background": 0, "anterior": 1, "posterior": 2}, None),
        ("hippocampus", {"background": 0, "whole": [1, 2], "posterior": [2]}, [1, 2]),
        ((KITS, KITS_BOX), {"background": 0, "kidney": 1, "tumour": 2}, None),
        ((AMOS, AMOS_BOX), {"background": 0} | {f"organ_{n}": n for n in range(1, 16)}, None),
        ((BRATS, BRATS_BOX), BRATS_REGIONS, [2, 1, 3]),
    ],
    ids=["hippocampus", "hippocampus regions", "kits19", "amos22", "brats2021 regions"],
)
def test_label_maps_are_nnunets(
    source, labels, order, weights, hippocampus, make_grid, monkeypatch, tmp_path
):
    monkeypatch.setattr(probabilities, "TILE", (16, 32, 40))
    label_map = hippocampus_case(hippocampus) if source == "hippocampus" else sample(*source)
    values = list(labels.values())[1:] if order else None
    members = [
        make_probabilities(label_map, values, len(labels), seed) for seed in range(len(weights))
    ]
    image = tmp_path / "case_0000.nii.gz"
    write_image(image, label_map.astype(np.float32), make_grid(label_map.shape))
    chosen = {"case": []}
    for number, (member, weight) in enumerate(zip(members, weights, strict=True)):
        path = tmp_path / f"{number}.b2nd"
        save_probabilities(path, member, with_background=order is None)
        chosen["case"].append((path, weight, f"key {number}"))
    ensemble_cases(chosen, {"case": image}, tmp_path / "ours", order, 1)
    found = read_labels(tmp_path / "ours" / "case.nii.gz")[0]
    # nnU-Net knows no weights: a member that counts twice is given twice.
    repeated = [
        member for member, weight in zip(members, weights, strict=True) for _ in range(int(weight))
    ]
    expected = nnunet_label_map(tmp_path, image, repeated, labels, order)
    assert len(np.unique(expected)) == len(np.unique(label_map)) > 2
    different = found != expected
    assert different.mean() <= 1e-4
    assert different.sum() <= 1e-3 * (expected > 0).sum()  # most of an image is background


def test_label_maps_are_made_once_on_the_grid_of_their_image(classes, draw, tmp_path):
    (first, second), _ = classes
    image = draw(tmp_path / "image.nii.gz", np.zeros(SHAPE[1:], np.float32))
    references, target = {"x": image, "y": image}, tmp_path / "target"
    members = {"x": [(first, 1.0, "k1")], "y": [(first, 1.0, "k1"), (second, 2.0, "k2")]}
    keys = ensemble_cases(members, references, target, None, 2)
    assert keys["x"] != keys["y"]
    paths = [target / "x.nii.gz", target / "y.nii.gz"]
    for path, expected in zip(
        paths,
        [label_map_of([first], [1.0], None), label_map_of([first, second], [1.0, 2.0], None)],
        strict=True,
    ):
        found, grid = read_labels(path)
        np.testing.assert_array_equal(found, expected)
        assert grid == read_image(image)[1]

    before = [path.stat().st_ino for path in paths]
    members["y"].reverse()  # the order of the members does not matter
    assert ensemble_cases(members, references, target, None, 1) == keys
    assert [path.stat().st_ino for path in paths] == before
    members["y"][0] = (second, 3.0, "k2")
    again = ensemble_cases(members, references, target, None, 1)
    assert again["x"] == keys["x"]
    assert again["y"] != keys["y"]
    after = [path.stat().st_ino for path in paths]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]

    assert ensemble_cases({"x": members["x"]}, references, target, None, 1) == {"x": keys["x"]}
    assert not paths[1].exists()


def test_all_members_are_checked_before_the_first_label_map(classes, draw, monkeypatch, tmp_path):
    (first, second), _ = classes
    image = draw(tmp_path / "image.nii.gz", np.zeros(SHAPE[1:], np.float32))
    references, target = dict.fromkeys("xyz", image), tmp_path / "target"
    members = {case: [(first, 1.0, "k1")] for case in "xyz"}
    ensemble_cases({"x": members["x"]}, references, target, None, 1)
    finished = (target / "x.nii.gz").stat().st_ino

    second.write_bytes(second.read_bytes()[:100])
    members["z"].append((second, 1.0, "k2"))
    first_open = ensembling.open_probabilities
    opened = []
    monkeypatch.setattr(
        ensembling, "open_probabilities", lambda path: [opened.append(path), first_open(path)][1]
    )
    with pytest.raises(ValueError, match=r"1\.b2nd: not a readable file of probabilities"):
        ensemble_cases(members, references, target, None, 1)
    assert len(opened) == 3  # of y and z: nothing of the finished case is read
    assert [path.name for path in target.glob("*.nii.gz")] == ["x.nii.gz"]
    assert (target / "x.nii.gz").stat().st_ino == finished


def test_members_must_have_the_shape_of_the_image(classes, draw, tmp_path):
    image = draw(tmp_path / "image.nii.gz", np.zeros((7, 5, 3), np.float32))
    message = r"0\.b2nd: \(7, 5, 4\) voxels, but .*image\.nii\.gz has \(7, 5, 3\)"
    with pytest.raises(ValueError, match=message):
        ensemble_cases({"x": [(classes[0][0], 1.0, "k")]}, {"x": image}, tmp_path / "t", None, 1)


def test_members_must_fit_together(classes, regions, tmp_path):
    (first, _), (region,) = classes[0], regions[0]
    other = tmp_path / "other.b2nd"
    save_probabilities(other, classes[1][0][:, :-1], True)
    with pytest.raises(ValueError, match=r"other\.b2nd: shape \(2, 6, 5, 4\), but .*0\.b2nd has"):
        label_map_of([first, other], [1.0, 1.0], None)
    with pytest.raises(ValueError, match=r"r\.b2nd: classes and regions cannot be averaged with"):
        label_map_of([first, region], [1.0, 1.0], None)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"0\.b2nd: 2 members, but weights \[1\.0\]"),
        ([1.0, 0.0], r"0\.b2nd: weights must be positive numbers, found \[1\.0, 0\.0\]"),
        ([1.0, -1.0], r"0\.b2nd: weights must be positive numbers"),
        ([1.0, np.nan], r"0\.b2nd: weights must be positive numbers"),
        ([1.0, np.inf], r"0\.b2nd: weights must be positive numbers"),
    ],
)
def test_weights_must_be_positive_and_one_a_member(classes, weights, message):
    with pytest.raises(ValueError, match=message):
        label_map_of(classes[0], weights, None)


def test_the_order_must_have_every_region(classes, regions):
    with pytest.raises(ValueError, match=r"r\.b2nd: 3 regions, but regions_class_order is \[1, 2"):
        label_map_of(regions[0], [1.0], [1, 2])
    with pytest.raises(ValueError, match=r"r\.b2nd: 3 regions, but regions_class_order is None"):
        label_map_of(regions[0], [1.0], None)
    with pytest.raises(ValueError, match=r"0\.b2nd: 0 regions, but regions_class_order is \[1, 2"):
        label_map_of(classes[0], [1.0, 1.0], [1, 2])


FOLDS = [
    {"train": ["b", "c", "d"], "val": ["a"]},
    {"train": ["a", "d"], "val": ["b", "c"]},
    {"train": ["a", "b", "c"], "val": ["d"]},
]


def tables(folder, cases_of_fold, models=("m", "n"), weights=(1.0, 2.0)):
    """Write a table of predicted cases for each model and fold."""
    written = []
    for model, weight in zip(models, weights, strict=True):
        for fold, cases in enumerate(cases_of_fold):
            path = folder / model / f"fold_{fold}.csv"
            write_manifest(path, {case: f"{model} {fold} {case}" for case in cases})
            written.append((path, model, fold, weight))
    return written


def test_a_validation_case_has_only_members_that_were_not_trained_on_it(tmp_path):
    written = tables(tmp_path, [fold["val"] for fold in FOLDS])
    members = gather_members(written, FOLDS)
    assert {case: [(weight, key) for _, weight, key in members[case]] for case in "abcd"} == {
        "a": [(1.0, "m 0 a"), (2.0, "n 0 a")],
        "b": [(1.0, "m 1 b"), (2.0, "n 1 b")],
        "c": [(1.0, "m 1 c"), (2.0, "n 1 c")],
        "d": [(1.0, "m 2 d"), (2.0, "n 2 d")],
    }
    for case, chosen in members.items():
        folds = [int(path.parent.name.removeprefix("fold_")) for path, _, _ in chosen]
        assert not any(case in FOLDS[fold]["train"] for fold in folds)
        assert all(path.name == f"{case}.b2nd" for path, _, _ in chosen)


def test_a_test_case_has_all_members(tmp_path):
    members = gather_members(tables(tmp_path, [["x", "y"]] * 3), None)
    assert [key for _, _, key in members["x"]] == [f"{m} {f} x" for m in "mn" for f in range(3)]
    assert len(members["y"]) == 6


def test_a_member_that_was_trained_on_a_validation_case_is_refused(tmp_path):
    written = tables(tmp_path, [["a", "b"], ["b", "c"], ["d"]])
    message = r"m/fold_0\.csv: m, fold 0, was trained on b; validation cases need members that"
    with pytest.raises(ValueError, match=message):
        gather_members(written, FOLDS)


@pytest.mark.parametrize("folds", [FOLDS, None])
def test_a_case_that_one_member_lacks_is_named(tmp_path, folds):
    cases = [fold["val"] for fold in FOLDS] if folds else [["b", "c"]] * 3
    written = tables(tmp_path, cases)
    write_manifest(written[4][0], {"b": "n 1 b"})
    message = r"n/fold_1\.csv: n, fold 1, has no prediction of c, which other members have"
    with pytest.raises(ValueError, match=message):
        gather_members(written, folds)


def test_no_test_cases_give_no_members(tmp_path):
    assert gather_members(tables(tmp_path, [[], [], []]), None) == {}


def test_discarding_removes_probabilities_and_keeps_their_tables(classes, tmp_path):
    folder = tmp_path / "m" / "probabilities"
    tables(folder.parent, [["a"]], models=["probabilities"], weights=[1.0])
    (folder / "fold_0").mkdir()
    for path in classes[0]:
        shutil.copy(path, folder / "fold_0")
    size = sum(path.stat().st_size for path in classes[0])
    discard_probabilities([folder, tmp_path / "never_predicted"], tmp_path / "discarded.csv")
    assert [path.name for path in folder.iterdir()] == ["fold_0.csv"]
    assert read_rows(tmp_path / "discarded.csv", ["folder", "files", "megabytes"]) == [
        {"folder": str(folder), "files": "2", "megabytes": f"{size / 1e6:.1f}"},
        {"folder": str(tmp_path / "never_predicted"), "files": "0", "megabytes": "0.0"},
    ]
