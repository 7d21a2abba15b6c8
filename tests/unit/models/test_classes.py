import pytest
import torch

from segflow.models.classes import (
    ClassLoss,
    balanced,
    case_probabilities,
    classes_of_patches,
    weigh_classes,
)


def test_windows_count_by_the_structure_that_they_hold():
    certain = torch.tensor([[10.0, 0, 0], [0, 10.0, 0]])
    found = case_probabilities(
        [(certain, torch.tensor([3.0, 1.0])), (certain[:1], torch.tensor([0.0]))]
    )
    assert found == pytest.approx([0.75, 0.25, 0], abs=1e-3)
    empty = case_probabilities([(certain, torch.zeros(2))])
    assert empty == pytest.approx([0.5, 0.5, 0], abs=1e-3)


def test_only_patches_that_hold_enough_of_a_known_case_count():
    target = torch.zeros(4, 1, 4, 4, dtype=torch.int16)
    target[0, 0, :2], target[1, 0, 0, 0], target[2, 0] = 1, 1, 2
    keys, classes = ["a", "b", "c", "d"], {"a": 2, "b": 1, "c": 0}
    found = classes_of_patches(keys, target, [1, 2], False, classes, 4)
    assert found.tolist() == [2, -1, 0, -1]
    regions = torch.stack([target[:, 0] == 1, target[:, 0] == 2], 1)
    assert classes_of_patches(keys, regions, [0], True, classes, 4).tolist() == [2, -1, -1, -1]


def test_rare_classes_are_drawn_as_often():
    classes = {**dict.fromkeys("abcdef", 0), **dict.fromkeys("gh", 1), "i": 2}
    found = balanced(list("abcdefghij"), classes)
    assert {name: found.count(name) for name in "aghij"} == {"a": 1, "g": 3, "h": 3, "i": 6, "j": 1}


def test_rare_classes_weigh_more_where_it_is_asked_for():
    assert weigh_classes([3, 1], weighted=False).tolist() == [1, 1]
    found = weigh_classes([3, 1], weighted=True)
    assert found.tolist() == pytest.approx([4 / 6, 4 / 2])
    assert (3 * found[0] + found[1]) / 4 == pytest.approx(1)


def test_the_loss_of_classes_is_their_cross_entropy():
    loss = ClassLoss(0.0, torch.ones(2))
    loss.known = torch.tensor([1, -1])
    logits = torch.tensor([[0.0, 2.0], [5.0, 0.0]])
    assert loss(logits).item() == pytest.approx(torch.log1p(torch.tensor(-2.0).exp()).item())
