from dataclasses import fields

import numpy as np
import pytest
from scipy import ndimage

from segflow.predictors.components import (
    Pieces,
    compare_pieces,
    count_pairs,
    find_pieces,
    foreground_box,
    load_table,
    read_table,
    save_table,
)

LABELS = {"background": 0, "a": 1, "b": 2}


def plain_pieces(label_map):
    """Find the same with SciPy, one piece at a time.

    Returns an array of numbers from 1, the labels, the rim of each hole, and the touching pairs.
    """
    inside = tuple(slice(None) if size == 1 else slice(1, -1) for size in label_map.shape)
    numbers, values, rims, contacts = np.zeros(label_map.shape, int), [], {}, set()
    for value in np.unique(label_map[label_map > 0]):
        found, count = ndimage.label(label_map == value, np.ones((3, 3, 3)))
        for number in range(1, count + 1):
            values.append(int(value))
            numbers[found == number] = len(values)
    background, count = ndimage.label(label_map == 0)
    around = np.pad(label_map, 1)
    for number in range(1, count + 1):
        hole = background == number
        edges = hole.copy()
        edges[inside] = False
        if edges.any():
            continue
        faces = {}
        for axis in range(3):
            for step in (1, -1):
                beside = np.roll(np.pad(hole, 1), step, axis) & ~np.pad(hole, 1) & (around > 0)
                for value in around[beside].tolist():
                    faces[value] = faces.get(value, 0) + 1
        values.append(max(faces, key=lambda value: (faces[value], -value)))
        numbers[hole] = len(values)
        rims[len(values)] = sorted(faces)
    wide = np.pad(numbers, 1)
    for offset in np.argwhere(np.ones((3, 3, 3))) - 1:
        moved = np.roll(wide, tuple(offset), (0, 1, 2))
        touching = (wide > 0) & (moved > 0) & (wide != moved)
        contacts |= set(zip(wide[touching].tolist(), moved[touching].tolist(), strict=True))
    return numbers, values, rims, contacts


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("shape", [(1, 9, 11), (1, 16, 15), (5, 6, 7), (4, 9, 8), (7, 1, 9)])
@pytest.mark.parametrize("seed", range(12))
def test_pieces_are_those_that_scipy_finds(shape, margin, seed):
    generator = np.random.default_rng(seed)
    share = generator.uniform(0.2, 0.85)
    parts = [1 - share, share / 2, share / 4, share / 4]
    label_map = generator.choice(4, shape, p=parts).astype(np.uint8)
    label_map = np.pad(label_map, [(0, 0) if size == 1 else (margin, 1) for size in shape])
    expected, values, rims, contacts = plain_pieces(label_map)
    inner, box, pieces = find_pieces(label_map)
    numbers = np.zeros(label_map.shape, int)
    numbers[box] = inner
    pairs = np.unique(np.stack([expected.ravel(), numbers.ravel()]), axis=1).T.tolist()
    renamed = dict(pairs)
    assert len(pairs) == len(renamed) == len(pieces.values) + (0 in renamed)
    assert renamed.get(0, 0) == 0
    for number, value in enumerate(values, start=1):
        place = renamed[number] - 1
        assert pieces.values[place] == value
        assert pieces.voxels[place] == (expected == number).sum()
        assert pieces.is_hole[place] == (number in rims)
        own = pieces.rims[pieces.rims[:, 0] == place, 1]
        assert own.tolist() == rims.get(number, [])
        edge = expected == number
        edge[tuple(slice(None) if size == 1 else slice(1, -1) for size in edge.shape)] = False
        assert pieces.at_border[place] == edge.any()
    found = {(i + 1, j + 1) for i, j in pieces.contacts.tolist()}
    assert found | {pair[::-1] for pair in found} == {(renamed[i], renamed[j]) for i, j in contacts}


def drawn(rows):
    return np.array([[list(map(int, row)) for row in rows]], np.uint8)


def test_a_hole_takes_the_label_with_most_faces_and_of_two_the_smaller():
    most = drawn(["22222", "21012", "22222", "00000", "22100", "20100", "22100", "00000"])
    _, _, pieces = find_pieces(most)
    holes = np.flatnonzero(pieces.is_hole)
    # The first has two faces with each label, the second three with 2 and one with 1.
    assert pieces.values[holes].tolist() == [1, 2]
    assert pieces.rims[:, 1].tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("axis", range(3))
def test_what_reaches_the_border_is_no_hole(axis):
    label_map = np.ones((5, 5, 5), np.uint8)
    label_map[2, 2, 2] = 0
    assert find_pieces(label_map)[2].is_hole.sum() == 1
    index = [2, 2, 2]
    for place in range(2):
        index[axis] = place
        label_map[tuple(index)] = 0
    assert find_pieces(label_map)[2].is_hole.sum() == 0


def test_one_slice_has_no_border_along_z_but_a_slice_of_many_has():
    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = 0
    assert find_pieces(ring[None])[2].is_hole.tolist() == [False, True]
    volume = np.zeros((3, 3, 3), np.uint8)
    volume[1] = ring
    assert find_pieces(volume)[2].is_hole.tolist() == [False]


def test_holes_are_not_connected_through_corners():
    label_map = drawn(["1111", "1011", "1101", "1111"])
    pieces = find_pieces(label_map)[2]
    assert pieces.voxels[pieces.is_hole].tolist() == [1, 1]
    assert pieces.contacts.tolist() == [[0, 1], [0, 2], [1, 2]]  # the two holes touch


def test_dense_masks_of_odd_size_are_no_problem():
    """Isolated voxels in every other place, and one block of 3 x 3."""
    label_map = np.zeros((1, 65, 65), np.uint8)
    label_map[0, 4::2, ::2] = 1
    label_map[0, :3, :3] = 1
    pieces = find_pieces(label_map)[2]
    assert sorted(pieces.voxels.tolist()) == [1] * (31 * 33) + [9]


@pytest.mark.parametrize("with_holes", [True, False])
def test_nothing_has_no_pieces(with_holes):
    numbers, box, pieces = find_pieces(np.zeros((2, 3, 4), np.uint8), with_holes)
    assert numbers.size == 0
    assert np.zeros((2, 3, 4))[box].size == 0
    assert all(len(getattr(pieces, field.name)) == 0 for field in fields(Pieces))


def test_the_box_is_tight():
    label_map = np.zeros((5, 6, 7), np.uint8)
    label_map[1, 2, 3] = label_map[2, 2, 6] = 1
    assert foreground_box(label_map) == (slice(1, 3), slice(2, 3), slice(3, 7))


def test_pairs_are_counted():
    one = np.array([[0, 1, 1], [1, 2, 2]], np.uint8)
    other = np.array([[3, 3, 3], [0, 0, 3]], np.uint16)
    pairs, counts = count_pairs(one, other)
    assert pairs.tolist() == [[0, 3], [1, 0], [1, 3], [2, 0], [2, 3]]
    assert counts.tolist() == [1, 1, 2, 1, 1]


def test_shared_voxels_by_hand():
    prediction = drawn(["11022", "00022", "10000"])
    reference = drawn(["01100", "00020", "00002"])
    table = compare_pieces(prediction, reference, 2.0)
    assert table.prediction.values.tolist() == [1, 2, 1]
    assert table.reference.values.tolist() == [1, 2]  # the two 2 touch at a corner
    assert table.shared.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert table.voxel_mm3 == 2


@pytest.mark.parametrize("seed", range(10))
def test_shared_voxels_are_those_of_both_masks(seed):
    generator = np.random.default_rng(seed)
    maps = [generator.choice(3, (5, 9, 8), p=[0.7, 0.2, 0.1]).astype(np.uint8) for _ in range(2)]
    maps[0][:2] = maps[1][:, :3] = 0  # boxes that overlap partly
    table = compare_pieces(*maps)
    masks = []
    for label_map, holes in zip(maps, (True, False), strict=True):
        numbers = np.zeros(label_map.shape, int)
        inner, box, _ = find_pieces(label_map, holes)
        numbers[box] = inner
        masks.append(numbers)
    n, m = len(table.prediction.values), len(table.reference.values)
    expected = [
        [i, j, int(((masks[0] == i + 1) & (masks[1] == j + 1)).sum())]
        for i in range(n)
        for j in range(m)
    ]
    assert table.shared.tolist() == [row for row in expected if row[2]]


def test_a_table_survives_its_file(tmp_path):
    table = compare_pieces(drawn(["111", "101", "112"]), drawn(["111", "111", "000"]), 0.3)
    save_table(tmp_path / "case.npz", table)
    found = load_table(tmp_path / "case.npz")
    for kind in ("prediction", "reference"):
        for field in fields(Pieces):
            one, other = (getattr(getattr(t, kind), field.name) for t in (table, found))
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    np.testing.assert_array_equal(found.shared, table.shared)
    assert found.voxel_mm3 == table.voxel_mm3


def test_a_table_knows_the_volume_of_a_voxel(draw, tmp_path):
    for shape, size in (((2, 1, 3), 3 * 1), ((1, 2, 3), 2 * 1), ((2, 2, 3), 3 * 2 * 1)):
        path = draw(tmp_path / "x.nii.gz", np.ones(shape, np.uint8))
        assert read_table(path, path, LABELS).voxel_mm3 == pytest.approx(size)


def test_bad_pairs_of_files_are_refused(draw, tmp_path):
    one = draw(tmp_path / "one.nii.gz", drawn(["120"]))
    with pytest.raises(FileNotFoundError, match=r"missing\.nii\.gz: the prediction of this case"):
        read_table(one, tmp_path / "missing.nii.gz", LABELS)
    wide = draw(tmp_path / "wide.nii.gz", drawn(["1200"]))
    with pytest.raises(ValueError, match=r"wide\.nii\.gz: differs from its reference .* in shape"):
        read_table(one, wide, LABELS)
    strange = draw(tmp_path / "strange.nii.gz", drawn(["123"]))
    with pytest.raises(ValueError, match=r"strange\.nii\.gz: holds label 3, declared are 0 and"):
        read_table(one, strange, LABELS)
    with pytest.raises(ValueError, match=r"strange\.nii\.gz: holds label 3"):
        read_table(strange, one, LABELS)
    real = draw(tmp_path / "real.nii.gz", drawn(["120"]).astype(np.float32))
    with pytest.raises(ValueError, match=r"real\.nii\.gz: holds float32 values"):
        read_table(one, real, LABELS)
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(one.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"torn\.nii\.gz: "):
        read_table(one, torn, LABELS)
