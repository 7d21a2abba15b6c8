from pathlib import Path

import pytest

from segflow.files.suffixes import ending_with, stem, suffix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_0000.nii.gz", ("a_0000", ".nii.gz")),
        ("a.NII.GZ", ("a", ".nii.gz")),
        ("a.b.PNG", ("a.b", ".png")),
        ("a.XML", ("a", ".xml")),
        ("a.tar.gz", ("a.tar", ".gz")),
        ("IM0001", ("IM0001", "")),
    ],
)
def test_names_are_cut_at_their_suffix(name, expected):
    assert (stem(Path(name)), suffix(Path(name))) == expected


def test_files_are_found_whatever_the_case_of_their_ending(tmp_path):
    for name in ("a.nii.gz", "b.NII.GZ", "._c.nii.gz", "d.nii"):
        (tmp_path / name).touch()
    found = {"a": tmp_path / "a.nii.gz", "b": tmp_path / "b.NII.GZ"}
    assert ending_with(tmp_path, ".nii.gz") == found
    assert ending_with(tmp_path, ".Nii.gz") == found
