import numpy as np
import pytest

from inbreast import make_inbreast, make_roi, write_xml
from segflow.images.contours import read_contours

SHAPE = (10, 12)  # rows, columns
SQUARE = [(2, 1), (6, 1), (6, 4), (2, 4)]  # columns 2 to 6, rows 1 to 4
NAMES = ["Mass"]


@pytest.fixture
def read(tmp_path):
    """Write ROIs as the only image of a file, and read them."""

    def read(*rois, shape=SHAPE, names=NAMES, images=None):
        path = tmp_path / "20586908.xml"
        write_xml(path, [list(rois)] if images is None else images)
        return read_contours(path, shape, names)

    return read


def square_mask():
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:5, 2:7] = 1
    return mask


def test_points_are_columns_before_rows_and_the_border_belongs_to_the_mask(read):
    mask, findings = read(make_roi("Mass", SQUARE))
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, square_mask())
    assert findings == []


@pytest.mark.parametrize("name", ["Mass", "mass", " MASS ", "Mass\n"])
def test_case_and_blanks_of_a_name_do_not_matter(read, name):
    mask, findings = read(make_roi(name, SQUARE))
    assert np.array_equal(mask, square_mask())
    assert findings == []


def test_several_rois_and_spellings_are_united(read):
    far = np.add(SQUARE, (4, 4))
    rois = [make_roi("Asymmetry", SQUARE), make_roi("Assymetry", far)]
    mask, findings = read(*rois, names=["Asymmetry", "Assymetry"])
    expected = square_mask()
    expected[5:9, 6:11] = 1
    assert np.array_equal(mask, expected)
    assert findings == []


@pytest.mark.parametrize(
    "name", ["Calcification", "Cluster", "Unnamed", "Point 1", "", "Distortion"]
)
def test_other_rois_are_left_out_in_silence(read, name):
    mask, findings = read(make_roi(name, SQUARE), make_roi(name, SQUARE[:1]))
    assert not mask.any()
    assert findings == []


def test_names_that_look_misspelt_are_reported_together(read):
    rois = [make_roi(name, SQUARE) for name in ("Masss", "Mas", "Mas", "Cluster")]
    mask, findings = read(*rois)
    assert not mask.any()
    assert findings == [
        "left out ROIs whose names may be misspelt: 2 named 'Mas' (like 'Mass'), "
        "1 named 'Masss' (like 'Mass')"
    ]


def test_a_file_without_rois_gives_an_empty_mask(read):
    mask, findings = read()
    assert mask.shape == SHAPE
    assert not mask.any()
    assert findings == []


@pytest.mark.parametrize(
    ("roi", "finding"),
    [
        (make_roi("Mass", SQUARE[:2]), "has 2 point(s), a polygon needs 3: left out"),
        (make_roi("Mass", []), "has 0 point(s), a polygon needs 3: left out"),
        ({"Name": "Mass"}, "has 0 point(s), a polygon needs 3: left out"),
        (make_roi("Mass", [(1, 1), (3, 3), (8, 8)]), "encloses no area: left out"),
        (make_roi("Mass", [(5, 5)] * 4), "encloses no area: left out"),
        (
            make_roi("Mass", SQUARE, Point_px=["(1, 2)", "(3; 4)", "(5, 6)"]),
            "has a point that is no pair of numbers, '(3; 4)': left out",
        ),
        (
            make_roi("Mass", SQUARE, Point_px=["(1, 2)", "(3, 4)", "(5, nan)"]),
            "has a point that is no pair of numbers, '(5, nan)': left out",
        ),
        (
            make_roi("Mass", SQUARE, Point_px=["(1, 2)", "(3, 4)", "(5, 1.2.3)"]),
            "has a point that is no pair of numbers, '(5, 1.2.3)': left out",
        ),
    ],
)
def test_an_roi_that_is_no_polygon_is_left_out_and_reported(read, roi, finding):
    mask, findings = read(make_roi("Cluster", SQUARE), roi, make_roi("Mass", SQUARE))
    assert np.array_equal(mask, square_mask())
    assert findings == [f"ROI 1 (Mass) {finding}"]


def test_a_wrong_number_of_points_is_reported_and_the_points_are_drawn(read):
    mask, findings = read(make_roi("Mass", SQUARE, NumberOfPoints=5))
    assert np.array_equal(mask, square_mask())
    assert findings == ["ROI 0 (Mass) has 4 points instead of 5: drew those"]


def test_points_outside_the_image_are_moved_to_its_border(read):
    beyond = [(8, 7), (14, 7), (14.5, 12), (8, 12)]
    mask, findings = read(make_roi("Mass", beyond))
    expected = np.zeros(SHAPE, np.uint8)
    expected[7:, 8:] = 1
    assert np.array_equal(mask, expected)
    assert findings == ["ROI 0 (Mass) has 3 point(s) outside the image: moved them to its border"]


def test_a_polygon_wholly_outside_the_image_encloses_nothing(read):
    mask, findings = read(make_roi("Mass", np.add(SQUARE, (100, 0))))
    assert not mask.any()
    assert findings[-1] == "ROI 0 (Mass) encloses no area: left out"


def test_a_polygon_that_crosses_itself_is_drawn_and_reported(read):
    bow_tie = [(2, 2), (8, 8), (8, 2), (2, 8)]
    mask, findings = read(make_roi("Mass", bow_tie))
    # Two triangles that meet at (5, 5): open at the top and at the bottom.
    assert mask[5, 3] == mask[5, 7] == 1
    assert mask[3, 5] == mask[7, 5] == 0
    assert findings == ["ROI 0 (Mass) crosses itself: drawn all the same"]


def test_polygons_whose_sides_only_touch_do_not_cross(read):
    spike = [(2, 1), (6, 1), (6, 4), (4, 1), (2, 4)]  # a point of it lies on its first side
    assert read(make_roi("Mass", spike))[1] == []


def test_a_contour_agrees_with_the_ellipse_that_it_follows(read):
    centre, axes, shape = np.array([300, 220]), np.array([150.3, 90.7]), (480, 640)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    points = centre + axes * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask, findings = read(make_roi("Mass", points), shape=shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    ellipse = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1
    assert np.count_nonzero(mask != ellipse) < 0.001 * ellipse.sum()
    assert findings == []


def test_the_contours_of_a_raw_folder_agree_with_what_was_drawn(tmp_path):
    drawn = make_inbreast(tmp_path, 3)
    findings = []
    for case, what in drawn.items():
        path = tmp_path / "AllXML" / f"{case.split('_')[0]}.xml"
        if path.exists():
            mask, found = read_contours(path, what.lesion.shape, NAMES)
            lesion = what.lesion if "_L_" in case else np.zeros_like(what.lesion)
            assert np.count_nonzero((mask > 0) != lesion) <= 0.06 * lesion.sum()
            findings += found
    assert findings == ["ROI 1 (Mass) has 2 point(s) outside the image: moved them to its border"]


def test_an_empty_list_of_images_is_reported(read):
    mask, findings = read(images=[])
    assert not mask.any()
    assert findings == ["lists no image: the mask is empty"]


def test_the_rois_of_several_images_are_all_drawn(read):
    images = [[make_roi("Mass", SQUARE)], [make_roi("Mass", SQUARE[:2])]]
    mask, findings = read(images=images)
    assert np.array_equal(mask, square_mask())
    assert findings == [
        "lists 2 images: drew the ROIs of all of them",
        "ROI 1 (Mass) has 2 point(s), a polygon needs 3: left out",
    ]


HEAD = '<?xml version="1.0" encoding="UTF-8"?><plist version="1.0">'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a property list"),
        ("no XML", "cannot be read as a property list"),
        (f"{HEAD}<dict><key>Images</key><array>", "cannot be read as a property list"),
        (f"{HEAD}<dict><string>a</string></dict></plist>", "cannot be read as a property list"),
        (f"{HEAD}<date>yesterday</date></plist>", "cannot be read as a property list"),
        (f"{HEAD}<integer>a</integer></plist>", "cannot be read as a property list"),
        (f"{HEAD}</plist>", "has no list of Images"),
        (f"{HEAD}<array/></plist>", "has no list of Images"),
        (f"{HEAD}<dict><key>Images</key><true/></dict></plist>", "has no list of Images"),
        (
            f"{HEAD}<dict><key>Images</key><array><true/></array></dict></plist>",
            "an entry of Images has no list of ROIs",
        ),
        (
            f"{HEAD}<dict><key>Images</key><array><dict><key>ROIs</key><array><true/></array>"
            "</dict></array></dict></plist>",
            "ROI 0 has no list of points",
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    path = tmp_path / "20586908.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^.*20586908\.xml: {message}"):
        read_contours(path, SHAPE, NAMES)


def test_names_must_be_given(read):
    with pytest.raises(ValueError, match=r"20586908\.xml: the names of the ROIs .* not given"):
        read(make_roi("Mass", SQUARE), names=[])
