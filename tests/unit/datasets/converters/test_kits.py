import json

import nibabel
import pytest

from layouts import SAMPLES, make_kits19, make_kits23, touch_files
from segflow.datasets.converters.kits import OPTIONS, find_cases
from segflow.datasets.sources import Problem

DOWNLOAD = "download the images, which the published repository does not contain"


@pytest.fixture
def raw(tmp_path):
    """Make the folder of KiTS 2019 with two training cases and a test case."""
    touch_files(
        tmp_path / "data",
        *(f"case_{n}/{kind}.nii.gz" for n in ("00000", "00209") for kind in KINDS),
        "case_00210/imaging.nii.gz",
    )
    return tmp_path


KINDS = ("imaging", "segmentation")


def write_table(path, *patients):
    path.write_text(json.dumps(patients))


def test_cases_from_210_on_are_test_cases_of_2019(raw):
    found = find_cases(raw, 2019)
    assert found.problems == []
    assert [(case.case, case.patient, case.split) for case in found.cases] == [
        ("case_00000", "case_00000", "train"),
        ("case_00209", "case_00209", "train"),
        ("case_00210", "case_00210", "test"),
    ]
    case, test_case = found.cases[0], found.cases[2]
    assert case.images == (raw / "data/case_00000/imaging.nii.gz",)
    assert case.labels == (raw / "data/case_00000/segmentation.nii.gz",)
    assert test_case.labels is None
    assert (case.class_label, case.covariates) == ("", {})


def test_all_cases_of_2023_are_training_cases(raw):
    (raw / "data").rename(raw / "dataset")
    found = find_cases(raw, 2023)
    assert [case.split for case in found.cases] == ["train"] * 3
    file = "dataset/case_00210/segmentation.nii.gz"
    problem = Problem("case_00210", file, "error", "the file is missing", "add it")
    assert found.problems == [problem]


def test_the_raw_folder_may_be_data_itself(raw):
    assert find_cases(raw / "data", 2019) == find_cases(raw, 2019)


def test_the_default_of_the_option_is_that_of_the_function(raw):
    assert find_cases(raw, OPTIONS["edition"]["default"]) == find_cases(raw)


def test_a_clone_without_images_is_told_to_download_them(raw):
    (raw / "data/case_00000/imaging.nii.gz").unlink()
    found = find_cases(raw, 2019)
    file = "data/case_00000/imaging.nii.gz"
    problem = Problem("case_00000", file, "error", "the file is missing", DOWNLOAD)
    assert found.problems == [problem]
    assert [case.case for case in found.cases] == ["case_00209", "case_00210"]


def test_a_training_case_without_label_is_an_error(raw):
    (raw / "data/case_00209/segmentation.nii.gz").unlink()
    [problem] = find_cases(raw, 2019).problems
    assert (problem.file, problem.severity) == ("data/case_00209/segmentation.nii.gz", "error")


@pytest.mark.parametrize("folder", ["", "data"])
def test_the_table_of_patients_gives_covariates(raw, folder):
    write_table(
        raw / folder / "kits.json",
        {
            "case_id": "case_00000",
            "age_at_nephrectomy": 49,
            "malignant": True,
            "tumor_histologic_subtype": "clear_cell_rcc",
        },
        {"case_id": "case_00209", "malignant": None},
    )
    found = find_cases(raw, 2019)
    assert found.problems == []
    assert [case.covariates for case in found.cases] == [
        {"malignant": "true", "tumor_histologic_subtype": "clear_cell_rcc"},
        {"malignant": "", "tumor_histologic_subtype": ""},
        {"malignant": "", "tumor_histologic_subtype": ""},
    ]


def test_what_table_and_folders_do_not_share_is_noted(raw):
    write_table(
        raw / "data/kits.json",
        *({"case_id": f"case_{number:05d}"} for number in (0, *range(1, 8))),
    )
    assert find_cases(raw, 2019).problems == [
        Problem(
            "",
            "data/kits.json",
            "note",
            "1 training cases are not in the table: case_00209",
            "none needed",
        ),
        Problem(
            "",
            "data/kits.json",
            "note",
            "7 cases of the table have no folder: case_00001, case_00002, case_00003, case_00004, "
            "case_00005 and 2 more",
            "none needed",
        ),
    ]


@pytest.mark.parametrize("content", ["[{", "{}x", '{"case_00000": 1}', "[1]", '[{"id": 1}]', "3"])
def test_a_damaged_table_is_an_error(raw, content):
    (raw / "kits.json").write_text(content)
    found = find_cases(raw, 2019)
    assert len(found.cases) == 3
    assert found.problems == [
        Problem(
            "",
            "kits.json",
            "error",
            "expected a JSON list of patients, each with its case_id",
            "mend or remove the table",
        )
    ]


def test_the_table_of_another_edition_is_not_read(raw):
    (raw / "kits23.json").write_text("damaged")
    assert find_cases(raw, 2019).problems == []


def test_other_files_are_ignored(raw):
    before = find_cases(raw, 2019)
    touch_files(
        raw / "data",
        "LICENSE",
        "case_00001.zip",
        "case_1/imaging.nii.gz",
        "case_00000/._imaging.nii.gz",
        "case_00000/instances/kidney_instance-1_annotation-1.nii.gz",
    )
    assert find_cases(raw, 2019) == before


def test_another_layout_is_answered_with_what_was_found(tmp_path):
    touch_files(tmp_path, "imagesTr/case_00000.nii.gz")
    expected = r"dataset/case_NNNNN/imaging.nii.gz of KiTS 2023, found imagesTr/"
    with pytest.raises(FileNotFoundError, match=expected):
        find_cases(tmp_path, 2023)


@pytest.mark.parametrize(
    ("make", "edition", "splits"),
    [
        (make_kits19, 2019, ["train"] * 8 + ["test"] * 2),
        (make_kits23, 2023, ["train"] * 8),
    ],
)
def test_the_miniatures_are_complete_and_have_the_slices_first(tmp_path, make, edition, splits):
    make(tmp_path)
    found = find_cases(tmp_path, edition)
    assert found.problems == []
    assert [case.split for case in found.cases] == splits
    image = nibabel.load(found.cases[0].images[0])
    assert image.shape == (16, 48, 32)
    assert image.affine[:3, :3].tolist() == [[0, 0, -2], [0, -2, 0], [-5, 0, 0]]


@pytest.mark.parametrize(
    ("edition", "n_patients", "first"), [(2019, 210, "case_00044"), (2023, 489, "case_00411")]
)
def test_the_real_label_maps_wait_for_their_images(edition, n_patients, first):
    raw = SAMPLES / f"kits{edition - 2000}"
    if not raw.is_dir():
        pytest.skip("there are no samples")
    found = find_cases(raw, edition)
    assert found.cases == []
    [note, *errors] = found.problems
    assert note.severity == "note"
    assert note.problem.startswith(f"{n_patients - 5} cases of the table have no folder")
    assert {(problem.severity, problem.action) for problem in errors} == {("error", DOWNLOAD)}
    assert errors[0].case == first
    assert len(errors) == 5


def test_covariates_of_the_real_table(tmp_path):
    if not SAMPLES.is_dir():
        pytest.skip("there are no samples")
    touch_files(tmp_path, *(f"dataset/case_00411/{kind}.nii.gz" for kind in KINDS))
    (tmp_path / "kits23.json").symlink_to(SAMPLES / "kits23/kits23.json")
    [case] = find_cases(tmp_path, 2023).cases
    patients = json.loads((SAMPLES / "kits23/kits23.json").read_text())
    entry = next(patient for patient in patients if patient["case_id"] == "case_00411")
    assert case.covariates == {
        "malignant": str(entry["malignant"]).lower(),
        "tumor_histologic_subtype": entry["tumor_histologic_subtype"],
    }
