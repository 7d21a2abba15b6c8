from copy import deepcopy
from pathlib import Path

import pytest
import torch

from segflow.jobs.devices import choose_device
from segflow.models import training
from segflow.models.checkpoints import find_start, read_checkpoint
from segflow.models.training import (
    check_n_gpus,
    fold_folder,
    number_classes,
    training_identity,
    warn_of_large_batch,
)

FOLD = {"train": ["a", "b"], "val": ["c"]}
KEYS = {"a": "1", "b": "2", "c": "3", "unused": "4"}
PLANS = {
    "plans_name": "m",
    "configurations": {"2d": {"batch_size": 2}, "3d_fullres": {"batch_size": 1}},
    "segflow": {
        "model": "m",
        "configuration": "2d",
        "seed": 1,
        "training": {"epochs": 5, "checkpoint_minutes": 5},
        "prediction": {"step_size": 0.5},
    },
}


def identity(plans=None, fold=FOLD, keys=KEYS, previous=None):
    return training_identity(plans or PLANS, fold, keys, previous or {})


def changed(**arguments):
    """Return the kinds of ingredients that differ from those of the plain training."""
    before, after = identity(), identity(**arguments)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def plans_with(*path, value):
    plans = deepcopy(PLANS)
    place = plans
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return plans


def test_each_ingredient_has_a_key_of_its_own():
    assert changed() == set()
    assert changed(keys={**KEYS, "b": "5"}) == {"data"}
    assert changed(previous={"c": "1"}) == {"data"}
    assert changed(fold={"train": ["b", "a"], "val": ["c"]}) == {"split"}
    other = plans_with("configurations", "2d", "batch_size", value=3)
    assert changed(plans=other) == {"plans"}
    other = plans_with("segflow", "training", "epochs", value=6)
    assert changed(plans=other) == {"settings"}
    assert changed(plans=plans_with("segflow", "seed", value=2)) == {"seed"}


def test_the_procedure_counts(monkeypatch):
    before = identity()
    monkeypatch.setattr(training, "PROCEDURE", training.PROCEDURE + 1)
    assert {name for name, key in identity().items() if before[name] != key} == {"procedure"}


@pytest.mark.parametrize(
    "plans",
    [
        plans_with("segflow", "training", "checkpoint_minutes", value=1),
        plans_with("segflow", "prediction", "step_size", value=0.9),
        plans_with("configurations", "3d_fullres", "batch_size", value=9),
    ],
)
def test_what_training_does_not_use_does_not_count(plans):
    assert changed(plans=plans) == set()
    assert changed(keys={**KEYS, "unused": "5"}) == set()


def test_another_side_of_the_split_counts():
    assert "split" in changed(fold={"train": ["a", "c"], "val": ["b"]})


def test_the_number_of_gpus_counts_from_two_on():
    def with_gpus(n_gpus):
        return training_identity(PLANS, FOLD, KEYS, {}, n_gpus)

    assert with_gpus(1) == identity()
    assert {name for name, key in with_gpus(2).items() if key != identity()[name]} == {"settings"}


@pytest.mark.parametrize(
    ("n_gpus", "wanted", "message"),
    [
        (3, "auto", "m.yaml: n_gpus is 3, but a batch has 2 patches; allowed are 1 to 2, or set"),
        (2, "cpu", "m.yaml: n_gpus is 2, but device is 'cpu'; several need cuda or auto"),
    ],
)
def test_gpus_that_have_no_work_are_an_error(n_gpus, wanted, message):
    with pytest.raises(ValueError, match=message):
        check_n_gpus(n_gpus, PLANS, wanted)
    check_n_gpus(2, PLANS, "cuda")
    check_n_gpus(1, PLANS, "cpu")


def test_cases_that_are_not_preprocessed_are_named():
    with pytest.raises(ValueError, match="cases of the fold are not preprocessed: b, c"):
        identity(keys={"a": "1"})


def test_the_folder_is_where_nnunet_looks():
    found = fold_folder(Path("results"), "Dataset004_h", PLANS, 2)
    expected = "results/nnUNet_results/Dataset004_h/SegflowTrainer__m__2d/fold_2"
    assert found == Path(expected)


@pytest.mark.parametrize("wanted", ["cuda", "mps"])
def test_a_device_that_is_missing_is_an_error(monkeypatch, wanted):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(RuntimeError, match=f"device is '{wanted}', but PyTorch finds none here"):
        choose_device(wanted)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_only_a_whole_checkpoint_of_segflow_is_used(tmp_path, capsys):
    path = tmp_path / "checkpoint_latest.pth"
    assert read_checkpoint(path) is None
    assert capsys.readouterr().out == ""

    torch.save({"segflow": {"identity": {"seed": "1"}}}, path)
    assert read_checkpoint(path) == {"identity": {"seed": "1"}}

    path.write_bytes(path.read_bytes()[:-100])
    assert read_checkpoint(path) is None
    assert "checkpoint_latest.pth: not a usable checkpoint" in capsys.readouterr().out

    torch.save({"network_weights": {}}, path)
    assert read_checkpoint(path) is None
    assert "not a usable checkpoint (KeyError: 'segflow')" in capsys.readouterr().out


def test_training_starts_from_the_furthest_checkpoint_of_the_same_making(tmp_path):
    def write(name, position, identity):
        state = {"identity": identity, "position": position}
        torch.save({"segflow": state}, tmp_path / f"checkpoint_{name}.pth")

    same = {"data": "1", "seed": "2"}
    assert find_start(tmp_path, same) is None
    write("latest", [3, 7], same)
    write("best", [3, 0], same)
    assert find_start(tmp_path, same) == tmp_path / "checkpoint_latest.pth"
    write("best", [5, 0], same)
    assert find_start(tmp_path, same) == tmp_path / "checkpoint_best.pth"
    write("best", [9, 0], {**same, "seed": "3"})
    assert find_start(tmp_path, same) == tmp_path / "checkpoint_latest.pth"
    (tmp_path / "checkpoint_latest.pth").write_bytes(b"torn")
    assert find_start(tmp_path, same) is None


def test_patches_that_were_planned_for_a_gpu_are_said_on_a_cpu(capsys):
    configuration = {"batch_size": 2, "patch_size": [128, 128, 128]}
    large = plans_with("configurations", "2d", value=configuration)
    warn_of_large_batch(large)
    said = capsys.readouterr().err
    assert "config/models/m.yaml: patches of 128x128x128, 2 in a batch" in said
    assert "overrides.patch_size" in said
    configuration["patch_size"] = [32, 32, 32]
    warn_of_large_batch(large)
    assert capsys.readouterr().err == ""


def test_classes_are_numbered_as_the_data_set_lists_them():
    fold = {"train": ["a", "b"], "val": ["c", "d"]}
    named = {"a": "x", "b": "y", "c": "y", "d": "", "other": "z"}
    assert number_classes(fold, named, ["x", "y"]) == {"a": 0, "b": 1, "c": 1}


def test_a_fold_that_cannot_teach_a_class_is_refused():
    fold = {"train": ["a"], "val": ["b"]}
    with pytest.raises(ValueError, match="no training case of the fold has the class y; a model"):
        number_classes(fold, {"a": "x", "b": "y"}, ["x", "y"])
    with pytest.raises(ValueError, match=r"cases\.csv: case 'b' has the class 'z'; known: x, y"):
        number_classes(fold, {"a": "x", "b": "z"}, ["x", "y"])


def test_names_of_classes_and_structures_change_no_training():
    head = {"weight": 0.3, "structure": ["a"], "classes": ["x", "y"], "outputs": [1]}
    keys = []
    for changes in ({}, {"structure": ["b"], "classes": ["v", "w"]}, {"weight": 0.4}):
        plans = plans_with("segflow", "head", value=head | changes)
        keys.append(training_identity(plans, FOLD, KEYS, {}, classes={"a": 0, "b": 1}))
    assert keys[0] == keys[1]
    assert keys[0]["settings"] != keys[2]["settings"]
    other = training_identity(plans, FOLD, KEYS, {}, classes={"a": 1, "b": 1})
    assert keys[2]["data"] != other["data"]
