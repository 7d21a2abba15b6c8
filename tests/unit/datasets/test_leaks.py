import nibabel
import numpy as np
import pytest

from conversion import RULE, convert, describe, gather
from segflow.datasets.leaks import (
    check_test_cases,
    contradictions,
    find_copies,
    leaking_images,
)
from segflow.datasets.near_duplicates import Pair
from segflow.datasets.parts import ASKED_FOR
from segflow.datasets.problems import read_problems

IMAGE = np.random.default_rng(2).integers(0, 200, (3, 5, 6)).astype(np.int16)


@pytest.mark.parametrize("name", ["case", "patient", "group", "image"])
def test_test_cases_must_be_new(make_case, name):
    column = {"image": "voxels"}.get(name, name)
    training = make_case("a", voxels="key")
    test = make_case("t", **{column: getattr(training, column)})
    with pytest.raises(ValueError, match=f"test case '[at]' has the {name} of 'a'"):
        check_test_cases([training], [make_case("new"), test])


def test_new_test_cases_pass(make_case):
    test = [make_case("t", voxels="2"), make_case("u", voxels="3")]
    check_test_cases([make_case("a", voxels="1")], test)


def test_constant_images_are_no_copies(make_case):
    black, other = make_case("a", voxels=";"), make_case("b", voxels=";")
    assert find_copies([black, other], published=False) == []
    assert leaking_images([black], [other]) == []
    check_test_cases([black], [other])


def test_a_shared_channel_is_noted(make_case):
    first, second = make_case("a", voxels="1;2"), make_case("b", voxels="1;3")
    [note] = find_copies([first, second], published=False)
    assert (note.severity, note.problem) == (
        "note",
        "shares a channel with case 'a' of another group",
    )
    [leak] = leaking_images([first], [second])
    assert leak.problem == "test case 'b' has a channel of the image of training case 'a'"
    check_test_cases([first], [second])


def test_copies_within_a_group_are_noted_and_across_groups_refused(make_case):
    cases = [make_case("a", voxels="1", group="g"), make_case("b", voxels="1", group="g")]
    assert [p.severity for p in find_copies(cases, published=False)] == ["note"]
    cases.append(make_case("c", voxels="1"))
    assert [p.severity for p in find_copies(cases, published=False)] == ["note", "error"]


def test_copies_in_a_published_split_are_leaks_only_across_it(make_case):
    parts = {"a": "train", "b": "val", "c": "train"}
    cases = [make_case(name, voxels="1", published_split=part) for name, part in parts.items()]
    problems = find_copies(cases, published=True)
    assert [(p.case, p.severity) for p in problems] == [("b", "leak"), ("c", "note")]


def flipped(path, draw, make_grid):
    """Store the image in the opposite order along x, with a header that says so."""
    direction = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    draw(path, IMAGE[..., ::-1].astype(np.float32), direction=direction)


def with_a_fourth_axis(path, draw, make_grid):
    image = nibabel.Nifti1Image(IMAGE.T[..., None].astype(np.int32), np.diag([-1, -1, 2, 1]))
    image.header["descrip"] = b"another header"
    image.to_filename(path)


def in_another_format(path, draw, make_grid):
    draw(path.with_suffix("").with_suffix(".nrrd"), IMAGE.astype(np.int32))


@pytest.mark.parametrize("write", [flipped, with_a_fourth_axis, in_another_format])
@pytest.mark.parametrize("published", [False, True])
def test_the_same_voxels_in_another_file_are_found(tmp_path, draw, make_grid, write, published):
    raw = tmp_path / "raw"
    label = (IMAGE > 100).astype(np.uint8)
    draw(raw / "a.nii.gz", IMAGE)
    draw(raw / "label.nii.gz", label)
    draw(raw / "b.nii.gz", IMAGE + 1)
    write(raw / "copy.nii.gz", draw, make_grid)
    copy = next(path.name for path in raw.glob("copy*"))
    lines = ["image,label,patient,split", "a.nii.gz,label.nii.gz,p,train"]
    lines += ["b.nii.gz,label.nii.gz,q,train", f"{copy},,r,test"]
    (raw / "cases.csv").write_text("\n".join(lines))
    labels = {"background": 0, "liver": 1}
    dataset = describe("hippocampus", converter="table", channels=["CT"], labels=labels)
    rule = RULE | {"published": published}
    for part in ("train", "test"):
        convert(raw, dataset, tmp_path, part, rule=rule)

    if not published:
        with pytest.raises(ValueError, match="test case 'copy' has the image of 'a'"):
            gather(tmp_path)
        return
    gather(tmp_path, published)
    leaks = [one for one in read_problems(tmp_path / "problems.csv") if one.severity == "leak"]
    assert [(one.case, one.action) for one in leaks] == [("copy", ASKED_FOR)]
    assert leaks[0].problem == "test case 'copy' has the image of training case 'a'"


def test_one_picture_of_two_classes_or_masks_is_noted(make_case):
    cases = [
        make_case("a", voxels="1", label_voxels="5", group="g"),
        make_case("b", voxels="1", label_voxels="7", group="g"),
        make_case("c", voxels="2"),
    ]
    pairs = [Pair("a", "c", 9, 0.9, "benign", "malignant"), Pair("a", "b", 0, 1.0, "x", "x")]
    first, second = contradictions(cases, pairs)
    assert (first.case, first.severity, first.problem) == (
        "a",
        "note",
        "nearly the same picture as case 'c', but of class 'benign' and not 'malignant'",
    )
    assert (second.case, second.problem) == ("b", "the same image as case 'a', but another label")
