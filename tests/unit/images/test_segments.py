from dataclasses import replace

import matplotlib.path
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dicom_files import (
    DATE,
    PATIENT,
    PATIENT_ID,
    UID_ROOT,
    slice_tags,
    write_dicom,
    write_segmentation,
    write_series,
    write_structures,
)
from segflow.images.dicom import read_dicom
from segflow.images.segments import SegmentRule, find_segments, is_segmentation, read_segments

SHAPE = (4, 25, 31)  # no multiple of 8 bits
SPACING = (3.0, 2.0, 1.5)
ORIGIN = (10.0, 20.0, 30.0)
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
FRAME = UID_ROOT + "77"
RULE = SegmentRule({"background": 0, "liver": 1, "leftlung": 2}, {}, frozenset({0, 1, 2}))
NAMES = ["Left Lung ", "LIVER"]


@pytest.fixture(params=["straight", "oblique"])
def axes(request):
    return np.eye(3) if request.param == "straight" else OBLIQUE


@pytest.fixture
def grid(tmp_path, axes):
    return image_of(tmp_path, axes).grid


def image_of(tmp_path, axes=OBLIQUE):
    pixels = np.zeros(SHAPE, np.int16)
    write_series(tmp_path / "series", pixels, SPACING, ORIGIN, axes, FrameOfReferenceUID=FRAME)
    return read_dicom(tmp_path / "series")


def place(index, axes):
    return slice_tags(SPACING, ORIGIN, axes, index)


@pytest.fixture
def masks():
    """Return two masks without a common voxel."""
    drawn = np.random.default_rng(0).integers(0, 3, SHAPE)
    return [drawn == 1, drawn == 2]


def refused(path, grid, match, rule=RULE, frame=""):
    with pytest.raises(ValueError, match=match) as caught:
        read_segments(path, grid, frame, rule)
    for word in (PATIENT, PATIENT_ID, DATE, UID_ROOT):
        assert word not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def all_frames(masks, axes):
    frames = [
        (number, mask[index], place(index, axes))
        for number, mask in enumerate(masks, 1)
        for index in range(SHAPE[0])
    ]
    return [frames[index] for index in np.random.default_rng(1).permutation(len(frames))]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_frames_lie_where_their_positions_say(tmp_path, grid, axes, masks, kind):
    frames = all_frames(masks, axes)
    if kind == "FRACTIONAL":  # half of 200 is not above one half
        frames = [(n, np.where(mask, 101, 100), place) for n, mask, place in frames]
    path = write_segmentation(tmp_path / "a.dcm", frames, NAMES, kind)
    assert is_segmentation(path)
    values, notes = read_segments(path, grid, FRAME, RULE)
    assert notes == []
    assert np.array_equal(values, 2 * masks[0] + masks[1])


def test_a_label_map_is_read_by_its_numbers(tmp_path, grid, axes, masks):
    frames = [(1, masks[0][i] + 2 * masks[1][i], place(i, axes)) for i in (2, 0, 3, 1)]
    path = write_segmentation(tmp_path / "a.dcm", frames, NAMES, "LABELMAP")
    values, _ = read_segments(path, grid, "", RULE)
    assert np.array_equal(values, 2 * masks[0] + masks[1])


def test_the_threshold_of_fractions_is_stated(tmp_path, grid, axes):
    stored = np.zeros(SHAPE[1:], int)
    stored[0, :4] = [49, 50, 51, 200]
    path = write_segmentation(
        tmp_path / "a.dcm", [(1, stored, place(1, axes))], ["liver"], "FRACTIONAL"
    )
    values, _ = read_segments(path, grid, "", replace(RULE, threshold=0.25))
    assert values[1, 0, :5].tolist() == [0, 0, 1, 1, 0]
    assert values.sum() == 2
    refused(path, grid, "label_threshold is 127", replace(RULE, threshold=127))


def test_turned_and_cropped_frames_find_their_voxels(tmp_path, grid, axes, masks):
    """A frame of the plane of x and z, that runs against both, and holds a part of the image."""
    y, step = 7, np.array(SPACING[::-1])
    first = np.add(ORIGIN, axes @ (step * [20, y, 2]))
    tags = {
        "PixelSpacing": [SPACING[0], SPACING[2]],
        "ImagePositionPatient": [round(float(value), 6) for value in first],
        "ImageOrientationPatient": [*(-axes[:, 0]), *(-axes[:, 2])],
    }
    frame = masks[0][2::-1, y, 20:4:-1]
    path = write_segmentation(tmp_path / "a.dcm", [(1, frame, tags)], ["liver"])
    values, _ = read_segments(path, grid, "", RULE)
    expected = np.zeros(SHAPE, int)
    expected[:3, y, 5:21] = masks[0][:3, y, 5:21]
    assert np.array_equal(values, expected)


@pytest.mark.parametrize(
    ("move", "match"),
    [
        ((0, 0, 0.5), "frame 1 lies off the grid"),
        ((0.5, 0, 0), "frame 1 lies off the grid"),
        ((0, 0, 4), "frame 1 lies off the grid .* 0 0 4 to 30 24 4 .* to 30 24 3"),
        ((1, 0, 0), "frame 1 lies off the grid .* 1 0 0 to 31 24 0"),
    ],
)
def test_frames_off_the_grid_are_refused(tmp_path, grid, axes, masks, move, match):
    off = place(0, axes)
    shift = axes @ np.multiply(move, SPACING[::-1])
    off["ImagePositionPatient"] = [
        round(float(value), 6) for value in np.add(off["ImagePositionPatient"], shift)
    ]
    frames = [(1, masks[0][1], place(1, axes)), (1, masks[0][0], off)]
    refused(write_segmentation(tmp_path / "a.dcm", frames, ["liver"]), grid, match)


def test_frames_of_another_spacing_or_direction_are_refused(tmp_path, grid, axes, masks):
    other = place(0, axes) | {"PixelSpacing": [2.0, 1.0]}
    path = write_segmentation(tmp_path / "a.dcm", [(1, masks[0][0], other)], ["liver"])
    refused(path, grid, "frame 0 lies off the grid")
    turned = place(0, axes @ Rotation.from_euler("z", 5, degrees=True).as_matrix())
    path = write_segmentation(tmp_path / "a.dcm", [(1, masks[0][0], turned)], ["liver"])
    refused(path, grid, "frame 0 lies off the grid")


def test_segments_that_overlap_are_refused(tmp_path, grid, axes, masks):
    masks[1][1, 2, 3:5] = masks[0][1, 2, 3:5] = True
    path = write_segmentation(tmp_path / "a.dcm", all_frames(masks, axes), NAMES)
    refused(path, grid, "another segment has another label in 2 voxels")
    path = write_segmentation(tmp_path / "a.dcm", all_frames(masks, axes), ["liver", " Liver"])
    values, _ = read_segments(path, grid, "", RULE)
    assert np.array_equal(values, masks[0] | masks[1])


def test_segments_that_are_no_label_are_named(tmp_path, grid, axes, masks):
    path = write_segmentation(tmp_path / "a.dcm", all_frames(masks, axes), ["liver", "Tumour"])
    match = "segment 2 'Tumour' .there: 1 'liver', 2 'Tumour'; allowed: background, liver, leftlung"
    refused(path, grid, match)
    for stated in ({"2": 2}, {"tumour": 2}):
        values, _ = read_segments(path, grid, "", replace(RULE, stated=stated))
        assert np.array_equal(values, masks[0] + 2 * masks[1])
    values, _ = read_segments(path, grid, "", replace(RULE, stated={"2": 0}))
    assert np.array_equal(values, masks[0])
    refused(path, grid, "segment 2", replace(RULE, stated={"2": 5}))


def test_a_file_that_is_a_mask_of_one_label(tmp_path, grid, axes, masks):
    rule = replace(RULE, masked=2)
    path = write_segmentation(tmp_path / "a.dcm", all_frames(masks[:1], axes), ["Segment_1"])
    assert np.array_equal(read_segments(path, grid, "", rule)[0], 2 * masks[0])
    path = write_segmentation(tmp_path / "a.dcm", all_frames(masks, axes), NAMES)
    assert np.array_equal(read_segments(path, grid, "", rule)[0], 2 * masks[0])


def test_another_frame_of_reference_is_refused(tmp_path, axes, masks):
    image = image_of(tmp_path, axes)
    assert image.frame_of_reference == FRAME
    frames, other = all_frames(masks, axes), UID_ROOT + "78"
    path = write_segmentation(tmp_path / "a.dcm", frames, NAMES, FrameOfReferenceUID=other)
    refused(path, image.grid, "another frame of reference", frame=FRAME)
    read_segments(path, image.grid, "", RULE)
    path = write_structures(tmp_path / "b.dcm", {"liver": []}, frame_of_reference=other)
    refused(path, image.grid, "another frame of reference", frame=FRAME)
    path = write_structures(tmp_path / "b.dcm", {"liver": []}, frame_of_reference=FRAME)
    read_segments(path, image.grid, FRAME, RULE)


def test_a_segmentation_that_is_cut_short_is_refused(tmp_path, grid, axes, masks):
    frames = all_frames(masks, axes)
    path = write_segmentation(tmp_path / "a.dcm", frames, NAMES, NumberOfFrames=len(frames) + 1)
    refused(path, grid, "cut short")
    path = write_segmentation(tmp_path / "a.dcm", frames, NAMES, SegmentSequence=None)
    refused(path, grid, "a tag is missing")
    flat = replace(grid, origin_mm=(0.0, 0.0), direction=(1.0, 0.0, 0.0, 1.0))
    refused(path, flat, "2D")


def test_an_image_is_no_segmentation(tmp_path):
    assert not is_segmentation(write_dicom(tmp_path / "a.dcm", np.zeros((3, 4), np.int16)))
    assert not is_segmentation(tmp_path)


def circle(x, y, radius, n=200):
    """Return points of a circle in voxels, of a radius in mm."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    ring = [np.cos(angles) / SPACING[2], np.sin(angles) / SPACING[1]]
    return np.stack([x + radius * ring[0], y + radius * ring[1]], axis=1)


def in_space(plane, index, axes):
    """Return where points, of shape (n, 2) in voxels, of a slice lie in mm."""
    voxels = np.column_stack([plane, np.full(len(plane), index)])
    return np.add(ORIGIN, (voxels * SPACING[::-1]) @ axes.T)


def inside(*polygons):
    """Return the pixels within an odd number of polygons."""
    y, x = np.indices(SHAPE[1:])
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    found = [matplotlib.path.Path(one).contains_points(centres) for one in polygons]
    return np.sum(found, axis=0).reshape(SHAPE[1:]) % 2


def test_contours_are_drawn_on_the_slices_of_their_planes(tmp_path, grid, axes):
    outer, hole = circle(12.3, 11.6, 13.1), circle(13.2, 12.7, 5.3)
    island, lung = circle(13.1, 12.4, 2.2), circle(26.4, 5.2, 5.9)
    path = write_structures(
        tmp_path / "a.dcm",
        {
            "liver": [in_space(one, 2, axes) for one in (hole, outer, island)]
            + [in_space(outer, 1, axes)],
            "left lung": [in_space(lung, 3, axes), in_space(lung, 2, axes)],
        },
    )
    assert is_segmentation(path)
    values, notes = read_segments(path, grid, FRAME, RULE)
    expected = np.zeros(SHAPE, int)
    expected[2] = inside(outer, hole, island) + 2 * inside(lung)
    expected[1] = inside(outer)
    expected[3] = 2 * inside(lung)
    assert inside(outer, hole).sum() == inside(outer).sum() - inside(hole).sum() > 0
    assert notes == []
    assert np.array_equal(values, expected)
    area = (values[1] == 1).sum() * SPACING[1] * SPACING[2]
    assert area == pytest.approx(np.pi * 13.1**2, rel=0.03)


def test_corners_on_centres_of_pixels_are_inside(tmp_path, grid, axes):
    square = np.array([[3, 4], [9, 4], [9, 8], [3, 8]])
    path = write_structures(tmp_path / "a.dcm", {"liver": [in_space(square, 1, axes)]})
    expected = np.zeros(SHAPE, int)
    expected[1, 4:9, 3:10] = 1
    assert np.array_equal(read_segments(path, grid, "", RULE)[0], expected)


@pytest.mark.parametrize(
    ("x", "z", "match"),
    [
        (9, 1.5, "ROI 1 .liver. lies off all slices of its image, at 1.5"),
        (9, -1, "off all slices"),
        (9, 4, "off all slices"),
        (90, 1, "beside its image"),
    ],
)
def test_contours_off_the_image_are_refused(tmp_path, grid, axes, x, z, match):
    contour = in_space(circle(x, 9, 4), z, axes)
    refused(write_structures(tmp_path / "a.dcm", {"liver": [contour]}), grid, match)


def test_a_contour_across_slices_is_refused(tmp_path, grid, axes):
    points = in_space(circle(9.3, 9.2, 6.1), 1, axes)
    points += np.linspace(0, 3, len(points))[:, None] * axes[:, 2]
    refused(write_structures(tmp_path / "a.dcm", {"liver": [points]}), grid, "off all slices")


def test_points_and_open_contours_are_noted(tmp_path, grid, axes):
    ring = in_space(circle(9.3, 9.2, 6.1), 1, axes)
    contours = [ring, ("POINT", ring[:1]), ("OPEN_PLANAR", ring[:9]), ("POINT", ring[3:4])]
    path = write_structures(tmp_path / "a.dcm", {"liver": contours})
    values, notes = read_segments(path, grid, "", RULE)
    assert notes == [
        "ROI 1 (liver) has 1 contour without an inside (OPEN_PLANAR)",
        "ROI 1 (liver) has 2 contours without an inside (POINT)",
    ]
    assert np.array_equal(values[1], inside(circle(9.3, 9.2, 6.1)))


def test_regions_are_labels_like_segments(tmp_path, grid, axes):
    ring = in_space(circle(9.3, 9.2, 6.1), 1, axes)
    path = write_structures(tmp_path / "a.dcm", {"Body": [ring], "liver": [ring]})
    refused(path, grid, "segment 1 'Body'")
    values, _ = read_segments(path, grid, "", replace(RULE, stated={"body": 0}))
    assert np.array_equal(values[1], inside(circle(9.3, 9.2, 6.1)))
    refused(path, grid, "another label in .* voxels", replace(RULE, stated={"1": 2}))


def test_damaged_points_are_refused(tmp_path, grid, axes):
    ring = in_space(circle(9.3, 9.2, 6.1), 1, axes)
    path = write_structures(tmp_path / "a.dcm", {"liver": [ring]})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refused(path, grid, "damaged|cut short|missing")


def test_a_single_slice_has_a_place_in_space(tmp_path, axes, masks):
    """Its own frames and contours are drawn on it, those of other slices are not."""
    tags = {**place(2, axes), "FrameOfReferenceUID": FRAME}
    image = read_dicom(write_dicom(tmp_path / "one.dcm", np.zeros(SHAPE[1:], np.int16), **tags))
    assert image.grid.shape == image.place.shape == (1, *SHAPE[1:])
    assert len(image.grid.origin_mm) == 2  # converted as a 2D image, as before
    path = write_segmentation(tmp_path / "a.dcm", [(1, masks[0][2], place(2, axes))], ["liver"])
    values, _ = read_segments(path, image.place, FRAME, RULE)
    assert np.array_equal(values[0], masks[0][2])
    other = [(1, masks[0][1], place(1, axes))]
    refused(write_segmentation(tmp_path / "b.dcm", other, ["liver"]), image.place, "off the grid")
    corners = np.array([[3, 2, 2], [6, 2, 2], [6, 5, 2], [3, 5, 2]]) * SPACING[::-1]
    points = np.add(ORIGIN, corners @ axes.T)
    path = write_structures(tmp_path / "rt.dcm", {"Liver": [points]}, frame_of_reference=FRAME)
    values, _ = read_segments(path, image.place, FRAME, RULE)
    assert values[0, 2:6, 3:7].all()
    assert values.sum() == 16


@pytest.mark.parametrize("missing", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_a_slice_that_does_not_say_where_it_lies_has_no_place(tmp_path, missing):
    tags = place(2, np.eye(3)) | {missing: None}
    path = write_dicom(tmp_path / "one.dcm", np.zeros(SHAPE[1:], np.int16), **tags)
    assert read_dicom(path).place is None


def test_the_segments_of_a_folder_are_found(tmp_path, masks):
    folder = tmp_path / "series"
    image_of(tmp_path)
    assert find_segments(folder) is None
    frames = [(1, masks[0][0], place(0, OBLIQUE))]
    path = write_segmentation(folder / "1-1.dcm", frames, ["liver"])
    assert find_segments(folder) == find_segments(path) == path
    assert read_dicom(folder).grid.shape == SHAPE  # what lies beside the slices is none
    write_segmentation(folder / "other.dcm", frames, ["liver"])
    with pytest.raises(ValueError, match=r"series: 2 segmentations .* \(1-1\.dcm, other\.dcm"):
        find_segments(folder)


def test_a_folder_of_segments_is_no_image(tmp_path, masks):
    write_segmentation(tmp_path / "a.dcm", [(1, masks[0][0], place(0, OBLIQUE))], ["liver"])
    with pytest.raises(ValueError, match="no image in this folder, segments only"):
        read_dicom(tmp_path)
