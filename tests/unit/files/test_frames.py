import math

import pytest

from segflow.files.content import Damaged
from segflow.files.frames import read_frame


def test_names_stay_names(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("case,label,dice\n007,NA,0.5\nnan,1,\n")
    found = read_frame(path, ["case", "label"])
    assert found["case"].tolist() == ["007", "nan"]
    assert found["label"].tolist() == ["NA", "1"]
    assert found["dice"][0] == 0.5
    assert math.isnan(found["dice"][1])


def test_what_is_not_defined_is_no_number_among_integers_either(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text("epoch,recall\n0,nan\n1,1\n")
    found = read_frame(path)
    assert math.isnan(found["recall"][0])
    assert found["recall"].mean() == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its 0 bytes end within a row"),
        (b"case,dice\na,0.", "its 14 bytes end within a row"),
        (b"\n", "not a table"),
        (b"case,dice\na,1,2,3\nb,\xff\n", "not a table"),
    ],
)
def test_a_torn_table_is_damage(tmp_path, content, said):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=rf"metrics\.csv: .*{said}") as caught:
        read_frame(path, ["case"])
    assert caught.value.files == (path,)
