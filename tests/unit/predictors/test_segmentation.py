import pytest

from segflow.predictors.segmentation import find_images, unlike_training


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


def test_folders_of_dicom_are_images_and_the_rest_is_named(tmp_path, capsys):
    for name in ("series/1.dcm", "out/a.nii.gz", "notes.txt", "b.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases = {case.case: case.images for case in find_images(tmp_path, 1)}
    assert cases == {"b": (tmp_path / "b.nii.gz",), "series": (tmp_path / "series",)}
    assert capsys.readouterr().err == f"{tmp_path}: not looked at: notes.txt, out\n"


SOLID = {"dimensions": [3], "formats": [".nii.gz"], "reading": {}}
PICTURES = {"dimensions": [2], "formats": [".png"], "reading": {}}


@pytest.mark.parametrize(
    ("images", "orientation", "described", "configuration", "words"),
    [
        ("a.nii.gz", "LPS", SOLID, "3d_fullres", []),
        ("a.png", "", SOLID, "3d_fullres", ["is 2D, but", "knows no spacing"]),
        ("a.npy", "LPS", SOLID, "2d", ["knows no spacing"]),
        ("a.npy", "LPS", {**SOLID, "reading": {"spacing_mm": [1, 1, 1]}}, "2d", []),
        ("a.nii.gz", "LPS", PICTURES, "2d", ["is 3D, but the network learned from 2D"]),
        ("a.png", "", PICTURES, "2d", []),
        ("a.png", "", {"reading": {}}, "3d_fullres", ["is 2D, but"]),
        ("a.png", "", {"reading": {}}, "2d", []),
    ],
)
def test_new_images_are_like_those_of_the_training(
    make_case, images, orientation, described, configuration, words
):
    case = make_case("a", images=images, orientation=orientation)
    problems = unlike_training([case], described, [configuration])
    assert len(problems) == len(words)
    assert all(word in problem.problem for word, problem in zip(words, problems, strict=True))
