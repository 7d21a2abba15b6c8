import pytest

from segflow.predictors.segmentation import find_images


def found(folder, names, n_channels):
    for name in names:
        (folder / name).touch()
    return {
        case.case: [path.name for path in case.images] for case in find_images(folder, n_channels)
    }


@pytest.mark.parametrize(
    ("names", "n_channels", "expected"),
    [
        (["b.nii.gz", "a.nii.gz"], 1, {"a": ["a.nii.gz"], "b": ["b.nii.gz"]}),
        (["a_0000.nii.gz"], 1, {"a": ["a_0000.nii.gz"]}),
        (["a_1_0000.nii.gz"], 1, {"a_1": ["a_1_0000.nii.gz"]}),
        (
            ["a_0001.nii.gz", "a_0000.nii.gz"],
            2,
            {"a": ["a_0000.nii.gz", "a_0001.nii.gz"]},
        ),
        (["a.nii.gz", "notes.txt", "a.json"], 1, {"a": ["a.nii.gz"]}),
        (["a.nii.gz", "._a.nii.gz"], 1, {"a": ["a.nii.gz"]}),
        (["a.nii.gz", "b_0000.nii.gz"], 1, {"a": ["a.nii.gz"], "b": ["b_0000.nii.gz"]}),
        (["scan_2024.nii.gz"], 1, {"scan_2024": ["scan_2024.nii.gz"]}),
    ],
)
def test_both_ways_to_name_images(tmp_path, names, n_channels, expected):
    assert found(tmp_path, names, n_channels) == expected


def test_new_cases_are_test_cases_without_reference(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (case,) = find_images(tmp_path, 1)
    assert (case.split, case.patient, case.labels) == ("test", "a", None)


@pytest.mark.parametrize(
    ("names", "n_channels", "message"),
    [
        ([], 1, r"expected images CASE_0000\.nii\.gz, found none"),
        (["._a.nii.gz"], 1, r"expected images CASE_0000\.nii\.gz, found none"),
        (["a_0000.nii.gz"], 2, r"case 'a' needs \['a_0000', 'a_0001'\], found \['a_0000'\]"),
        (["a_0001.nii.gz"], 2, r"case 'a' needs \['a_0000', 'a_0001'\], found \['a_0001'\]"),
        (
            ["a.nii.gz", "a_0000.nii.gz"],
            1,
            r"case 'a' needs \['a_0000'\], found \['a', 'a_0000'\]",
        ),
    ],
)
def test_wrong_channels_are_named(tmp_path, names, n_channels, message):
    with pytest.raises(FileNotFoundError, match=message):
        found(tmp_path, names, n_channels)
