import random

import numpy as np
import pytest
import torch

from segflow.models.checkpoints import (
    FINAL,
    random_states,
    read_checkpoint,
    restore_random_states,
    seed_everything,
    set_aside,
    take_back,
    write_checkpoint,
)
from segflow.models.trust import load_checkpoint

CPU = torch.device("cpu")


def draw():
    return random.random(), np.random.random(), torch.rand(1).item()


def test_generators_go_on_where_they_were():
    seed_everything(3)
    first = draw()
    states = random_states(CPU)
    second = draw()
    restore_random_states(states, CPU)
    assert draw() == second != first
    seed_everything(3)
    assert draw() == first


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    write_checkpoint(path, {"segflow": {"position": [1, 0]}})
    with pytest.raises(AttributeError, match="pickle"):
        write_checkpoint(path, {"segflow": lambda: None})
    assert read_checkpoint(path) == {"position": [1, 0]}


def trained(folder, identity, weights):
    folder.mkdir(exist_ok=True)
    write_checkpoint(folder / FINAL, {"segflow": {"identity": identity}, "weights": weights})


def test_what_was_trained_is_kept_and_comes_back_to_its_own_recipe(tmp_path):
    folder, first, second = tmp_path / "fold_0", {"seed": "1"}, {"seed": "2"}
    trained(folder, first, 1)
    set_aside(folder)
    assert not folder.exists()
    take_back(folder, second)
    assert not folder.exists()
    trained(folder, second, 2)
    take_back(folder, first)
    assert load_checkpoint(folder / FINAL)["weights"] == 1
    take_back(folder, second)
    assert load_checkpoint(folder / FINAL)["weights"] == 2


def test_nothing_is_ever_overwritten(tmp_path):
    folder, identity = tmp_path / "fold_0", {"seed": "1"}
    for weights in range(3):
        trained(folder, identity, weights)
        set_aside(folder, forget=True)
    take_back(folder, identity)
    assert not folder.exists()
    kept = sorted(load_checkpoint(path)["weights"] for path in tmp_path.rglob(FINAL))
    assert kept == [0, 1, 2]


def test_foreign_and_torn_checkpoints_are_kept_and_empty_folders_are_not(tmp_path):
    folder = tmp_path / "fold_0"
    folder.mkdir()
    (folder / FINAL).write_bytes(b"torn")
    set_aside(folder)
    assert len(list(tmp_path.rglob(FINAL))) == 1
    folder.mkdir()
    set_aside(folder)
    assert not folder.exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_aside_are_no_folds_for_nnunet(tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    for number in range(2):
        trained(tmp_path / f"fold_{number}", {}, 0)
    set_aside(tmp_path / "fold_1")
    assert nnUNetPredictor.auto_detect_available_folds(str(tmp_path), FINAL) == [0]
