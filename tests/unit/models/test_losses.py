import math

import pytest
import torch
from torch.nn import functional

from segflow.models.learning import LOSS_OPTIONS
from segflow.models.losses import CompoundLoss, one_against_rest, weighted_dice


def loss_of(*terms, has_regions=False, ignored=None, batch_dice=True):
    return CompoundLoss([{"weight": 1} | term for term in terms], has_regions, ignored, batch_dice)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(2, 3, 6, 5), torch.randint(0, 3, (2, 1, 6, 5))


def test_the_sigmoid_of_one_against_the_rest_is_the_softmax(batch):
    output, _ = batch
    assert torch.allclose(one_against_rest(output).sigmoid(), output.softmax(1)[:, 1:])


def test_bce_of_one_label_is_that_of_a_single_sigmoid(batch):
    output, target = batch[0][:, :2], (batch[1] > 0).long()
    single = output[:, 1:] - output[:, :1]
    expected = functional.binary_cross_entropy_with_logits(single, target.float())
    assert torch.allclose(loss_of({"term": "bce"})(output, target), expected)
    assert torch.allclose(loss_of({"term": "cross_entropy"})(output, target), expected)


def test_cross_entropy_is_pytorchs(batch):
    output, target = batch
    expected = functional.cross_entropy(output, target[:, 0])
    assert torch.allclose(loss_of({"term": "cross_entropy"})(output, target), expected)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_dice_is_that_of_soft_counts(batch, batch_dice):
    output, target = batch
    probability = output.softmax(1)
    dice = []
    for group in [[0, 1]] if batch_dice else [[0], [1]]:
        for label in (1, 2):
            p, t = probability[group, label], (target[group, 0] == label).float()
            dice.append(2 * (p * t).sum() / (p.sum() + t.sum()))
    found = loss_of({"term": "dice"}, batch_dice=batch_dice)(output, target)
    assert found.item() == pytest.approx(1 - torch.stack(dice).mean().item(), abs=1e-5)


def test_weighted_dice_by_hand():
    probability = torch.tensor([[[[0.5, 1.0, 0.25]]]])
    reference = torch.tensor([[[[1.0, 0.0, 0.0]]]])
    # Weights 2, 1, 1: shared 2 * 0.5 = 1; both 2 * 1.5 + 1 + 0.25 = 4.25.
    found = weighted_dice(probability, reference, 2, batch=True)
    assert found.item() == pytest.approx(1 - 2 / 4.25, abs=1e-5)


def test_terms_are_weighed_and_summed(batch):
    alone = [loss_of({"term": name})(*batch) for name in ("bce", "weighted_dice")]
    both = loss_of({"term": "bce", "weight": 0.3}, {"term": "weighted_dice", "weight": 0.7})
    assert torch.allclose(both(*batch), 0.3 * alone[0] + 0.7 * alone[1])


def test_focal_without_focus_is_bce(batch):
    focal = loss_of({"term": "focal", "gamma": 0})
    assert torch.allclose(focal(*batch), loss_of({"term": "bce"})(*batch), atol=1e-6)


@pytest.mark.parametrize("term", LOSS_OPTIONS)
@pytest.mark.parametrize("has_regions", [False, True])
def test_every_term_ends_lower_for_a_better_prediction(term, has_regions):
    label_map = torch.zeros(1, 1, 12, 12, dtype=torch.long)
    label_map[..., 3:8, 4:9] = 1
    right = torch.cat([label_map == 0, label_map == 1], 1).float() * 8 - 4
    target = (label_map == 1) if has_regions else label_map
    right = right[:, 1:] if has_regions else right
    loss = loss_of({"term": term}, has_regions=has_regions)
    wrong = right.roll(4, -1).requires_grad_()
    high = loss(wrong, target)
    assert math.isfinite(high.item())
    assert loss(right, target) < high
    high.backward()
    assert wrong.grad.isfinite().all()
    assert wrong.grad.abs().sum() > 0


@pytest.mark.parametrize("term", LOSS_OPTIONS)
@pytest.mark.parametrize("has_regions", [False, True])
def test_what_is_ignored_does_not_count(term, has_regions):
    torch.manual_seed(2)
    label_map = torch.randint(0, 3, (2, 1, 8, 8))
    label_map[..., 5:] = 3
    if has_regions:
        target = torch.cat([label_map == 1, label_map == 2, label_map == 3], 1)
    else:
        target = label_map
    output = torch.randn(2, 2 if has_regions else 3, 8, 8)
    other = output.clone()
    other[..., 5:] = torch.randn(2, output.shape[1], 8, 3)
    loss = loss_of({"term": term}, has_regions=has_regions, ignored=3)
    assert torch.allclose(loss(output, target), loss(other, target))


def test_nothing_but_ignored_gives_a_finite_loss():
    target = torch.full((1, 1, 4, 4), 2)
    for term in LOSS_OPTIONS:
        assert loss_of({"term": term}, ignored=2)(torch.randn(1, 2, 4, 4), target).isfinite()
