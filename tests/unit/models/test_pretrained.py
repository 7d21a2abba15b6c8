import shutil

import pytest
import torch

from segflow.files.content import file_sha256
from segflow.models.pretrained import load_pretrained


def network(width=3, classes=2):
    torch.manual_seed(width)
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Linear(width, classes))


def load(into, path, tmp_path):
    return load_pretrained(into, path, file_sha256(path), tmp_path / "scratch")


@pytest.mark.parametrize("kind", ["weights", "checkpoint", "distributed", "archive"])
def test_what_fits_is_taken_and_the_rest_is_named(kind, tmp_path):
    source, path = network(classes=5), tmp_path / "w.pth"
    weights = source.state_dict()
    if kind == "distributed":
        weights = {f"module.{name}": value for name, value in weights.items()}
    torch.save(weights if kind == "weights" else {"network_weights": weights}, path)
    if kind == "archive":
        folder = tmp_path / "zip" / "Dataset001_a/T__p__2d/fold_0"
        folder.mkdir(parents=True)
        path.rename(folder / "checkpoint_final.pth")
        path = tmp_path / "m.zip"
        shutil.make_archive(str(path.with_suffix("")), "zip", tmp_path / "zip")
    target = network(classes=2)
    drawn = target[1].weight.clone()
    taken, left = load(target, path, tmp_path)
    assert taken == ["0.weight", "0.bias"]
    assert left == ["1.weight", "1.bias"]
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[1].weight, drawn)


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"w\.pth: none of its 1 weights fits .*'0\.weight' .*'a'"):
        load(network(), path, tmp_path)


def test_another_file_than_was_planned_with_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(network().state_dict(), path)
    with pytest.raises(ValueError, match=r"w\.pth: expected SHA-256 0000 of the pretrained"):
        load_pretrained(network(), path, "0000", tmp_path)


def test_a_file_that_could_run_code_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": print}, path)
    with pytest.raises(ValueError, match="could run code"):
        load(network(), path, tmp_path)


def test_an_archive_without_weights_is_refused(tmp_path):
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip/other.pth").touch()
    path = tmp_path / "m.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", tmp_path / "zip")
    with pytest.raises(ValueError, match=r"m\.zip: holds no checkpoint_final\.pth"):
        load(network(), path, tmp_path)
