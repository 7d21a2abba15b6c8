import subprocess
import sys
from pathlib import Path

import pytest

from inbreast import PLANTED, make_inbreast, make_roi, write_xml
from segflow.datasets.converters.inbreast import OPTIONS, TABLE, find_cases

SQUARE = [(20, 10), (60, 10), (60, 40), (20, 40)]
MASS = [make_roi("Mass", SQUARE)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of four patients with 16 images, 8 of them with masses."""
    raw = tmp_path_factory.mktemp("inbreast")
    make_inbreast(raw, 4, (64, 48))
    return raw


@pytest.fixture
def make(tmp_path):
    """Make a raw folder of empty DICOM files, XML files and rows of the table."""

    def make(dicom, xml, rows=None):
        for name in ("AllDICOMs", "AllXML"):
            (tmp_path / name).mkdir()
        for name in dicom:
            (tmp_path / "AllDICOMs" / name).touch()
        for image, rois in xml.items():
            write_xml(tmp_path / "AllXML" / f"{image}.xml", [rois])
        if rows is not None:
            header = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
            (tmp_path / TABLE).write_text("\n".join([header, *rows]) + "\n")
        return tmp_path

    return make


def row(image, laterality="L", view="CC", acr="2", birads="5"):
    return f"removed;removed;{laterality};{view};201001;{image};{acr};{birads}"


def problems(catalogue):
    return [(each.severity, each.case, each.file, each.problem) for each in catalogue.problems]


def test_by_default_the_images_with_masses_are_the_cases(made):
    catalogue = find_cases(made)
    assert [case.case for case in catalogue.cases] == [
        f"{20586908 + 26 * index}_L_{view}"
        for patient in range(4)
        for index, view in ((4 * patient + 1, "CC"), (4 * patient + 3, "ML"))
    ]
    assert catalogue.problems == []


def test_a_case_has_its_files_patient_and_covariates(made):
    case = find_cases(made).cases[3]  # patient 1, left, second view
    assert case.case == "20587090_L_ML"
    assert case.patient == f"{1:016x}"
    assert case.split == "train"
    assert [str(path.relative_to(made)) for path in case.files] == [
        f"AllDICOMs/20587090_{1:016x}_MG_L_ML_ANON.dcm",
        "AllXML/20587090.xml",
    ]
    assert case.class_label == "malignant"
    assert case.covariates == {"laterality": "L", "view": "MLO", "acr": "2", "birads": "4a"}


def test_images_without_xml_are_known_to_be_empty(made):
    catalogue = find_cases(made, cases="all")
    assert len(catalogue.cases) == 16
    without = [case for case in catalogue.cases if not case.labels]
    assert {case.patient for case in without} == {f"{patient:016x}" for patient in (0, 3)}
    assert all(case.labels == () and case.covariates["birads"] == "1" for case in without)
    assert catalogue.problems == []


def test_dates_and_ages_stay_in_the_raw_folder(made):
    text = repr(find_cases(made, cases="all"))
    assert not any(planted in text for planted in PLANTED)


@pytest.mark.parametrize(
    ("rois", "patients"),
    [
        (["Calcification"], set()),  # single points enclose no area
        (["Cluster"], {0, 1, 2, 3}),
        (["asymmetry ", "Assymetry"], {2}),
        (["Point 1"], set()),
    ],
)
def test_other_rois_can_be_wanted(made, rois, patients):
    found = {int(case.patient, 16) for case in find_cases(made, rois=rois).cases}
    assert found == patients


@pytest.mark.parametrize(
    ("birads", "expected"),
    [
        ("1", "benign"),
        ("2", "benign"),
        ("3", "benign"),
        ("4a", "malignant"),
        ("4B", "malignant"),
        ("4c ", "malignant"),
        ("5", "malignant"),
        ("6", "malignant"),
    ],
)
def test_the_class_is_the_assessment(make, birads, expected):
    raw = make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}, [row(1, birads=birads)])
    catalogue = find_cases(raw)
    assert [case.class_label for case in catalogue.cases] == [expected]
    assert catalogue.problems == []


@pytest.mark.parametrize("birads", ["", "0", "7"])
def test_an_unknown_assessment_gives_no_class(make, birads):
    catalogue = find_cases(make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}, [row(1, birads=birads)]))
    assert [case.class_label for case in catalogue.cases] == [""]
    text = f"BI-RADS {birads!r} is none of 1, 2, 3, 4a, 4b, 4c, 5, 6"
    assert problems(catalogue) == [("note", "1_L_CC", TABLE, text)]


def test_without_table_there_are_no_classes(make):
    catalogue = find_cases(make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}))
    assert catalogue.cases[0].class_label == ""
    assert catalogue.cases[0].covariates["birads"] == ""
    assert problems(catalogue) == [("note", "", TABLE, "the table is missing")]


@pytest.mark.parametrize("text", ["", "File Name,Bi-Rads\n1,5\n"])
def test_a_table_without_the_columns_is_an_error(make, text):
    raw = make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS})
    (raw / TABLE).write_text(text)
    (problem,) = find_cases(raw).problems
    assert problem.severity == "error"
    assert problem.problem.startswith("has no column 'Laterality', 'View', 'File Name'")


def test_partners_that_are_missing_are_reported_once_for_all(make):
    raw = make(
        ["1_a_MG_L_CC_ANON.dcm", "2_a_MG_R_CC_ANON.dcm"],
        {"1": MASS, "2": MASS, "3": MASS},
        [row(1), *(row(image) for image in range(10, 20))],
    )
    catalogue = find_cases(raw)
    assert [case.case for case in catalogue.cases] == ["1_L_CC", "2_R_CC"]
    assert problems(catalogue) == [
        ("note", "", "AllXML", "1 image(s) have no DICOM file: 3"),
        (
            "note",
            "",
            TABLE,
            "10 image(s) have no DICOM file: 10, 11, 12, 13, 14, 15, 16, 17 and 2 more",
        ),
        ("note", "", TABLE, "1 image(s) are not listed: 2"),
    ]


@pytest.mark.parametrize(
    "name", ["1_MG_L_CC_ANON.dcm", "1_a_MG_X_CC_ANON.dcm", "copy of 1_a_MG_L_CC_ANON.dcm", "1.dcm"]
)
def test_a_dicom_file_of_another_name_is_an_error(make, name):
    catalogue = find_cases(make([name, "2_a_MG_R_FB_ANON.dcm"], {"2": MASS}, [row(2, "R", "FB")]))
    assert [case.case for case in catalogue.cases] == ["2_R_FB"]
    (problem,) = catalogue.problems
    assert (problem.severity, problem.file) == ("error", f"AllDICOMs/{name}")


def test_a_table_that_contradicts_the_name_is_reported(make):
    catalogue = find_cases(make(["1_a_MG_L_ML_ANON.dcm"], {"1": MASS}, [row(1, "R", "CC")]))
    assert catalogue.cases[0].covariates["laterality"] == "L"
    assert [each.problem for each in catalogue.problems] == [
        "INbreast.csv has Laterality 'R', the name says 'L'",
        "INbreast.csv has View 'CC', the name says 'MLO'",
    ]


def test_an_image_that_is_listed_twice_with_other_values_is_an_error(make):
    rows = [row(1), row(1), row(1, birads="2")]
    catalogue = find_cases(make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}, rows))
    text = "image '1' is listed twice, with different values"
    assert problems(catalogue) == [("error", "", TABLE, text)]


def test_a_lesion_without_contours_is_reported(make):
    dicom = ["1_a_MG_L_CC_ANON.dcm", "2_a_MG_L_ML_ANON.dcm"]
    raw = make(dicom, {"1": MASS}, [row(1), row(2, view="MLO")])
    catalogue = find_cases(raw, cases="all")
    text = "has no XML file, although its BI-RADS is 5"
    assert problems(catalogue) == [("note", "2_L_ML", f"AllDICOMs/{dicom[1]}", text)]


def test_an_image_whose_masses_are_points_is_left_out_with_a_note(make):
    points = [make_roi("Mass", SQUARE[:1]), make_roi("Mass", SQUARE[:2])]
    catalogue = find_cases(make(["1_a_MG_L_CC_ANON.dcm"], {"1": points}, [row(1)]))
    assert catalogue.cases == []
    text = "fewer than 3 points in each of 2 wanted ROIs"
    assert problems(catalogue) == [("note", "1_L_CC", "AllXML/1.xml", text)]


def test_a_damaged_xml_file_is_an_error(make):
    raw = make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}, [row(1)])
    path = raw / "AllXML" / "1.xml"
    path.write_bytes(path.read_bytes()[:300])
    (problem,) = find_cases(raw).problems
    assert (problem.severity, problem.case, problem.file) == ("error", "1_L_CC", "AllXML/1.xml")
    assert problem.problem.startswith("cannot be read as a property list (")
    assert [case.case for case in find_cases(raw, cases="all").cases] == ["1_L_CC"]


def test_files_of_macos_are_ignored(make):
    raw = make(["1_a_MG_L_CC_ANON.dcm"], {"1": MASS}, [row(1)])
    before = find_cases(raw)
    for path in [*raw.glob("*/*.dcm"), *raw.glob("*/*.xml")]:
        path.with_name(f"._{path.name}").touch()
    assert find_cases(raw) == before


@pytest.mark.parametrize("lost", ["AllDICOMs", "AllXML"])
def test_another_layout_is_answered_with_what_was_found(made, tmp_path, lost):
    for path in made.iterdir():
        if path.name != lost:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(FileNotFoundError, match=r"expected AllDICOMs.*of INbreast, found All"):
        find_cases(tmp_path)


def test_the_defaults_of_the_options_are_those_of_the_function(made):
    defaults = {name: schema["default"] for name, schema in OPTIONS.items()}
    assert find_cases(made, **defaults) == find_cases(made)


def test_the_module_imports_nothing_heavy():
    code = (
        "import sys, segflow.datasets.converters.inbreast; "
        "print(*{'numpy', 'skimage', 'pydicom'} & set(sys.modules))"
    )
    scripts = Path(__file__).parents[4] / "workflow" / "scripts"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
