import re

import numpy as np
import pytest

from conversion import convert, describe
from dicom_files import UID_ROOT, slice_tags, write_segmentation, write_series, write_structures
from segflow.datasets.converters.table import find_cases
from segflow.images.nifti import read_image, read_labels
from segflow.run.schemas import reading_defaults
from user_layouts import make_picture_table, make_table


@pytest.fixture
def raw(tmp_path):
    for name in ("a.nii.gz", "b.nrrd", "c.mha", "x y.png", "d1.tif", "d2.tif", "m.nii.gz"):
        (tmp_path / name).touch()
    for name in ("series/1.dcm", "other/IM0001", "other/IM.0002", "empty/.DS_Store", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def write(raw, *lines, end="\n", encoding="utf-8", name="cases.csv"):
    (raw / name).write_bytes(end.join([*lines, ""]).encode(encoding))
    return raw


def errors(raw):
    catalogue = find_cases(raw)
    assert {problem.severity for problem in catalogue.problems} <= {"error"}
    assert {problem.file for problem in catalogue.problems} <= {"cases.csv"}
    return [problem.problem for problem in catalogue.problems]


def only(raw):
    catalogue = find_cases(raw)
    assert catalogue.problems == []
    (case,) = catalogue.cases
    return case


def test_one_column_is_enough(raw):
    write(raw, "image", "a.nii.gz", "b.nrrd", "series", "other/IM0001", "other/IM.0002")
    catalogue = find_cases(raw)
    assert catalogue.problems == []
    assert [case.case for case in catalogue.cases] == ["a", "b", "series", "IM0001", "IM.0002"]
    for case in catalogue.cases:
        assert case.patient == case.case
        assert (case.split, case.labels, case.group, case.class_label) == ("train", None, "", "")
    assert catalogue.cases[2].files == [raw / "series/1.dcm"]


def test_every_column_is_read(raw):
    write(
        raw,
        "case,image,label,patient,group,split,class,covariate_age,covariate_site",
        "first,a.nii.gz,m.nii.gz,p1,g1,test,benign,41,",
    )
    case = only(raw)
    assert (case.case, case.patient, case.group, case.split) == ("first", "p1", "g1", "test")
    assert case.images == (raw / "a.nii.gz",)
    assert case.labels == (raw / "m.nii.gz",)
    assert case.class_label == "benign"
    assert case.covariates == {"age": "41", "site": ""}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", None),
        ("empty", ()),
        ("Empty", ()),
        ("m.nii.gz", ("m.nii.gz",)),
        ("d1.tif;d2.tif", ("d1.tif", "d2.tif")),
        ("d1.tif | d2.tif", ("d1.tif", "d2.tif")),
    ],
)
def test_references(raw, cell, expected):
    write(raw, "image,label", f"a.nii.gz,{cell}")
    labels = only(raw).labels
    assert labels == (None if expected is None else tuple(raw / name for name in expected))


@pytest.mark.parametrize(
    "lines",
    [
        ("image", "d1.tif;d2.tif"),
        ("image", "d1.tif|d2.tif"),
        ("image,label", "d1.tif;d2.tif,"),
        ("image;label", "d1.tif|d2.tif;"),
        ("image;label", '"d1.tif;d2.tif";'),
        ("image\tlabel", "d1.tif;d2.tif\t"),
        ("image_0,image_1", "d1.tif,d2.tif"),
        ("image_1;image_0", "d2.tif;d1.tif"),
    ],
)
def test_channels_in_one_cell_or_in_columns(raw, lines):
    case = only(write(raw, *lines))
    assert case.images == (raw / "d1.tif", raw / "d2.tif")
    assert case.case == "d1"


def test_ten_channels_are_in_the_order_of_their_numbers(raw):
    names = [f"c{number}.png" for number in range(11)]
    for name in names:
        (raw / name).touch()
    columns = ",".join(f"image_{number}" for number in reversed(range(11)))
    write(raw, columns, ",".join(reversed(names)))
    assert [path.name for path in only(raw).images] == names


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_spreadsheets_of_every_kind_are_read(raw, delimiter, end, encoding):
    lines = ["image,label,split,", "a.nii.gz,m.nii.gz,test,", ",,,", "", "b.nrrd,,,", ",,,"]
    write(raw, *(line.replace(",", delimiter) for line in lines), end=end, encoding=encoding)
    catalogue = find_cases(raw)
    assert catalogue.problems == []
    assert [(case.case, case.split) for case in catalogue.cases] == [("a", "test"), ("b", "train")]


def test_blanks_around_cells_do_not_count(raw):
    write(raw, " image , class ", " a.nii.gz , benign ")
    assert only(raw).class_label == "benign"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("x y.png", "x_y"),
        ("A.NII.GZ", "A"),
        ("ä(1).tif", "1_"),
        ("scan_0000.mha", "scan_0000"),
        ("scan_0000.mha|scan_0001.mha", "scan"),
        ("sub/x.1.png", "x.1"),
    ],
)
def test_a_case_takes_the_name_of_its_image(raw, image, name):
    (raw / "sub").mkdir()
    for file in image.split("|"):
        (raw / file).touch()
    assert only(write(raw, "image", image)).case == name


def test_paths_are_relative_to_the_table(raw):
    (raw / "lists").mkdir()
    (raw / "lists/here.png").touch()
    write(raw, "image", "here.png", name="lists/mine.csv")
    (case,) = find_cases(raw, table="lists/mine.csv").cases
    assert case.images == (raw / "lists/here.png",)


def test_the_raw_folder_may_be_named_by_way_of_another(raw):
    write(raw, "image", "a.nii.gz")
    assert find_cases(raw / "series" / "..").problems == []


@pytest.mark.parametrize("table", ["cases.csv", "other.csv", "../outside.csv", "/etc/hosts"])
def test_a_missing_table_is_another_layout(tmp_path, table):
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "outside.csv").touch()
    with pytest.raises(FileNotFoundError, match=f"expected a table {table}.*found an empty folder"):
        find_cases(raw, table=table)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("image,labels", "line 1: unknown column 'labels' (allowed: image, label, case, patient"),
        ("Image", "line 1: unknown column 'Image' (allowed: "),
        ("Image;Label", "line 1: unknown column 'Image' (allowed: "),
        ("image,,label", "line 1: unknown column '' (allowed: "),
        ("image,age", "line 1: unknown column 'age' (allowed: "),
        ("image,covariate_", "line 1: unknown column 'covariate_' (allowed: "),
        ("label,split", "line 1: there is no column 'image'"),
        ("image,label,label", "line 1: column 'label' is there 2 times"),
        ("image,image_0", "line 1: there are both 'image' and 'image_0'"),
        ("image_1,image_2", "line 1: found columns image_1, image_2, expected image_0, image_1"),
    ],
)
def test_a_wrong_header_is_an_error(raw, header, problem):
    found = errors(write(raw, header, "a.nii.gz"))
    assert found[0].startswith(problem)
    assert all(text.startswith("line 1: ") for text in found)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("zzz.png,,,", "there is no file zzz.png"),
        (",,,first", "the image is missing"),
        ("d1.tif;,,,", "the image is missing"),
        ("b.nrrd,zzz.png,,", "there is no file zzz.png"),
        ("b.nrrd,m.nii.gz;,,", "a name is missing between two separators"),
        ("b.nrrd,,training,", "unknown split 'training' (allowed: train, val, test, or blank"),
        ("b.nrrd,,Test,", "unknown split 'Test'"),
        ("../b.nrrd,,,", "'../b.nrrd' leaves the raw folder"),
        ("series/../b.nrrd,,,", "'series/../b.nrrd' leaves the raw folder"),
        ("/data/b.nrrd,,,", "'/data/b.nrrd' leaves the raw folder"),
        ("C:/data/b.nrrd,,,", "'C:/data/b.nrrd' leaves the raw folder"),
        ("series\\1.dcm,,,", "'series\\\\1.dcm' has backslashes"),
        ("empty,,,", "the folder empty has no files"),
        ("notes.txt,,,", "notes.txt is of an unknown kind (allowed: .nii.gz, .nii, "),
        (f"{'b' * 300}.nrrd,,,", f"there is no file {'b' * 300}.nrrd"),
        ("b.nrrd,,,my scan", "'my scan' cannot name a case"),
        ("b.nrrd,,,,x", "5 cells below a header of 4"),
        ("a.nii.gz,,,again", "image a.nii.gz is already in line 2"),
        ("b.nrrd,,,a", "case 'a' is already in line 2"),
    ],
)
def test_a_wrong_row_is_an_error_with_its_line(raw, cells, problem):
    write(raw, "image,label,split,case", "a.nii.gz,,,", "", cells)
    (found,) = errors(raw)
    assert found.startswith(f"line 4: {problem}")


def test_all_problems_are_listed_at_once(raw):
    write(
        raw,
        "image,split",
        "zzz.png,nowhere",
        "a.nii.gz,",
        "a.nii.gz,",
        "b.nrrd,",
        "d1.tif|d2.tif,",
        "c.mha|c.mha,",
    )
    assert errors(raw) == [
        "line 2: there is no file zzz.png",
        "line 2: unknown split 'nowhere' (allowed: train, val, test, or blank for train)",
        "line 4: case 'a' is already in line 3",
        "line 4: image a.nii.gz is already in line 3",
        "line 7: image c.mha is already in this line",
        "line 6: number of images is 2, that of most rows 1",
        "line 7: number of images is 2, that of most rows 1",
    ]
    assert [case.case for case in find_cases(raw).cases] == ["b"]


def test_a_row_with_fewer_channels_than_most_is_an_error(raw):
    write(raw, "image_0,image_1", "a.nii.gz,b.nrrd", "c.mha,", "d1.tif,d2.tif")
    assert errors(raw) == ["line 3: number of images is 1, that of most rows 2"]
    write(raw, "image_0,image_1", "a.nii.gz,b.nrrd", ",c.mha")
    assert errors(raw) == ["line 3: the image is missing"]


def test_a_patient_belongs_to_one_group(raw):
    write(raw, "image,patient,group", "a.nii.gz,p,g", "b.nrrd,p,h", "c.mha,q,g", "x y.png,,")
    assert errors(raw) == ["line 3: the patient is of another group than in line 2"]


def test_lines_count_as_in_the_file_where_a_cell_has_several(raw):
    write(raw, "image,covariate_note", 'a.nii.gz,"two\nlines"', "", "zzz.png,")
    assert errors(raw) == ["line 5: there is no file zzz.png"]


def test_semicolons_in_a_cell_of_a_table_of_semicolons_are_an_error(raw):
    write(raw, "image;label", "d1.tif;d2.tif;m.nii.gz")
    (problem,) = find_cases(raw).problems
    assert problem.problem == "line 2: 3 cells below a header of 2"
    assert problem.action == "separate files within a cell by '|', or quote the cell"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the table is empty"),
        (b"\n,,\n", "the table is empty"),
        (b"image\n", "there is no row below the header"),
        (b"image\na.nii.gz\n\xe4.png\n", "line 3: is not UTF-8"),
        ("image\na.nii.gz\n".encode("utf-16"), "line 1: is not UTF-8"),
        ("image\na.nii.gz\n".encode("utf-16-le"), "the file is damaged or no text"),
        (b'image\na.nii.gz\n"b.nrrd\n', "line 3: cannot be read (unexpected end of data)"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(raw, content, problem):
    (raw / "cases.csv").write_bytes(content)
    (found,) = errors(raw)
    assert found.startswith(problem)


def test_the_miniature_of_volumes(tmp_path):
    catalogue = find_cases(make_table(tmp_path))
    assert catalogue.problems == []
    assert [case.split for case in catalogue.cases] == ["train"] * 8 + ["test"] * 2
    assert len({case.patient for case in catalogue.cases}) == 8
    assert {path.suffix for case in catalogue.cases for path in case.images} == {
        ".gz",
        ".nrrd",
        ".mha",
    }
    assert [len(case.labels) for case in catalogue.cases] == [1, 1, 1, 2, 1, 0, 1, 1, 1, 1]
    for case in catalogue.cases:
        shapes = {read_image(path)[0].shape for path in case.files}
        assert shapes == {(1, 16, 24, 20)}


def test_the_miniature_of_pictures(tmp_path):
    catalogue = find_cases(make_picture_table(tmp_path))
    assert catalogue.problems == []
    assert [case.case for case in catalogue.cases] == [f"photo_{number}" for number in range(10)]
    assert {path.suffix for case in catalogue.cases for path in case.images} == {".png", ".tif"}
    for case in catalogue.cases:
        assert read_image(case.labels[0])[0].max() == 255


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("image,label_liver,label_left kidney", "a.nii.gz,d1.tif,d2.tif", ["liver", "left kidney"]),
        ("image,label_liver,label_lesion", "a.nii.gz,empty,d1.tif|d2.tif", ["lesion", "lesion"]),
        ("image;label", "a.nii.gz;liver=d1.tif|spleen = d2.tif", ["liver", "spleen"]),
    ],
)
def test_each_mask_may_have_its_label(raw, header, cells, expected):
    write(raw, header, cells)
    case = only(raw)
    assert case.labels == (raw / "d1.tif", raw / "d2.tif")
    assert case.label_names == tuple(expected)


def test_masks_that_are_all_empty_are_an_empty_reference(raw):
    write(raw, "image,label_liver,label_spleen", "a.nii.gz,empty,empty")
    assert (only(raw).labels, only(raw).label_names) == ((), ())


def test_a_case_without_masks_has_no_reference(raw):
    write(raw, "image,label_liver,label_spleen,split", "a.nii.gz,,,test")
    assert (only(raw).labels, only(raw).label_names) == (None, ())


def test_an_equals_sign_may_be_part_of_a_name(raw):
    (raw / "t=0.png").touch()
    write(raw, "image,label", "a.nii.gz,t=0.png")
    assert (only(raw).labels, only(raw).label_names) == ((raw / "t=0.png",), ())


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (
            "image,label_liver,label",
            "a.nii.gz,,",
            "line 1: there are both 'label' and",
        ),
        ("image,label_liver,label_spleen", "a.nii.gz,m.nii.gz,", "line 2: no mask of spleen, but"),
        (
            "image,label",
            "a.nii.gz,liver=d1.tif|d2.tif",
            "line 2: some files have the name",
        ),
        ("image,label", "a.nii.gz,liver=no.tif", "line 2: there is no file no.tif"),
    ],
)
def test_wrong_masks_are_named(raw, header, cells, message):
    write(raw, header, cells)
    assert errors(raw)[0].startswith(message)


def test_names_without_latin_characters_get_one(raw):
    for name in ("肝臓.nii.gz", "脾臓.nii.gz", "…"):
        (raw / name).touch()
    write(raw, "image", "肝臓.nii.gz", "脾臓.nii.gz", "…")
    names = [case.case for case in find_cases(raw).cases]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"case_[0-9a-f]{8}", name) for name in names)
    write(raw, "image", "脾臓.nii.gz")
    assert only(raw).case == names[1]


AXES = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # turned in plane
PLACE = (3.0, 2.0, 1.5), (10.0, 20.0, 30.0), AXES  # spacing along z, y, x, and origin


def test_dicom_series_with_segments_are_converted(tmp_path):
    """Two patients as archives deliver them: one with a SEG, one with an RTSTRUCT in a folder."""
    raw = tmp_path / "raw"
    frame = UID_ROOT + "5"
    image = np.arange(3 * 8 * 9, dtype=np.int16).reshape(3, 8, 9)
    expected = np.zeros(image.shape, np.uint8)
    expected[1:, 2:6, 3:8], expected[2, 3, 4:6] = 1, 2
    for name in ("p1", "p2"):
        series = f"{UID_ROOT}{name[1]}"
        tags = {"SeriesInstanceUID": series, "FrameOfReferenceUID": frame}
        write_series(raw / name / "ct", image + int(name[1]), *PLACE, **tags)
    frames = [
        (number, expected[index] == number, slice_tags(*PLACE, index))
        for number in (2, 1)
        for index in (2, 1, 0)
        if (expected[index] == number).any()
    ]
    names = ["Liver", "Tumour "]
    write_segmentation(raw / "p1/seg.dcm", frames, names, FrameOfReferenceUID=frame)

    def contour(z, y, x):
        """Return the corners of voxels from (y, x) to (y, x), as points in space."""
        corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
        return np.add(PLACE[1], np.multiply(corners, PLACE[0][::-1]) @ AXES.T)

    hole = contour(2, (2.6, 3.4), (3.6, 5.4))
    rois = {
        "LIVER": [contour(1, (2, 5), (3, 7)), contour(2, (2, 5), (3, 7)), hole],
        "tumour": [contour(2, (3, 3), (4, 5))],
        "Body": [contour(0, (0, 7), (0, 8))],
    }
    (raw / "p2/rt").mkdir()
    write_structures(raw / "p2/rt/1-1.dcm", rois, frame_of_reference=frame)
    write(raw, "case,image,label", "p1,p1/ct,p1/seg.dcm", "p2,p2/ct,p2/rt")
    labels = {"background": 0, "liver": 1, "tumour": 2}
    reading = reading_defaults() | {"label_values": {"Body": 0}, "orientation": "stored"}
    dataset = describe(
        "hippocampus",
        converter="table",
        channels=["CT"],
        labels=labels,
        reading=reading,
    )
    cases, problems = convert(raw, dataset, tmp_path / "out")
    assert [problem for problem in problems if problem.severity != "note"] == []
    assert len(cases) == 2
    assert {case.label_voxels for case in cases} == {"38 2"}
    for case in cases:
        found, grid = read_labels(tmp_path / "out/converted/labelsTr" / f"{case.case}.nii.gz")
        assert np.array_equal(found, expected), case
        assert grid.spacing_mm == PLACE[0]
        assert np.allclose(grid.origin_mm, PLACE[1])
        assert np.allclose(grid.direction, AXES.ravel())
