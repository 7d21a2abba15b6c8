import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch.nn import functional

from segflow.jobs.distributed import run_ranks
from segflow.models.classes import case_probabilities
from segflow.models.heads import ClassHead, Headed, HeadedLoss, WithHead
from segflow.models.network_builders import build_network
from segflow.models.networks import (
    NETWORKS,
    NNUNET,
    check_network,
    fit_patch,
    stages_of,
    tells_classes,
)

SETTINGS = {
    "classes": ["a", "b", "c"],
    "outputs": [1],
    "has_regions": False,
    "stages": 2,
    "hidden": 8,
    "dropout": 0.0,
    "frozen": False,
}
SMALL = {
    "unet_s2": {"features": [4, 4, 8, 8, 16, 4]},
    "unet_s3": {"features": [4, 4, 8, 8, 16, 4]},
    "swin_unetr": {"features": 12},
}


def nnunet(dimension, residual=False, deep_supervision=False):
    arguments = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 16],
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "kernel_sizes": [[3] * dimension] * 3,
        "strides": [[1] * dimension, [2] * dimension, [2] * dimension],
        "n_conv_per_stage_decoder": [1, 1],
        "n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 1, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return get_network_from_plans(
        f"dynamic_network_architectures.architectures.unet.{name}",
        arguments,
        ["conv_op", "norm_op", "dropout_op", "nonlin"],
        1,
        2,
        deep_supervision=deep_supervision,
    )


def with_head(network, stages=("encoder",), patch=(16, 16), n_in=1, **changes):
    return WithHead(network, stages, n_in, patch, SETTINGS | changes)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_a_head_goes_on_every_network_of_nnunet(dimension, residual, deep_supervision):
    network = nnunet(dimension, residual, deep_supervision)
    headed = with_head(network, patch=[16] * dimension)
    image = torch.rand(2, 1, *[16] * dimension)
    output = headed.train()(image)
    assert isinstance(output, Headed)
    assert output.classes.shape == (2, 3)
    assert isinstance(output.segmentation, list) == deep_supervision
    with torch.no_grad():
        found, plain = headed.eval()(image), network.eval()(image)
    if deep_supervision:
        found, plain = found[0], plain[0]
    assert torch.equal(found, plain)


NAMES = [name for name in NETWORKS if stages_of(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_head_goes_on_networks_of_other_libraries(name):
    options = check_network({"name": name, "options": SMALL.get(name, {})}, "2d", "m.yaml")
    patch = fit_patch(name, options, [1, 1])
    network = build_network(name, options, 2, 2, 2)
    headed = with_head(network, stages_of(name), patch, n_in=2)
    assert headed(torch.rand(2, 2, *patch)).classes.shape == (2, 3)


def test_networks_without_stages_are_known():
    assert stages_of(NNUNET) == ("encoder",)
    assert {name for name in NETWORKS if not (stages_of(name) or tells_classes(name))} == {
        *("attention_unet", "residual_unet", "encoder_decoder", "vnet", "mednext", "dense_seg"),
    }


def test_pooling_by_hand():
    head = ClassHead([1], 2, 4, 0.0)
    head.layers = torch.nn.Identity()
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    attention = torch.zeros(1, 1, 4, 4)
    attention[..., 2:, 2:] = 1.0
    attention[..., :2, 2:] = 0.5
    # Mean 3, maximum 6; attended: weights 0, 0.5, 0, 1 make (1 + 6) / 1.5.
    found = head([features], attention)
    assert torch.allclose(found, torch.tensor([[3.0, 6.0, 7 / 1.5]]), atol=1e-4)


def test_class_gradients_reach_the_encoder_unless_it_is_frozen():
    for frozen in (False, True):
        network = nnunet(2)
        headed = with_head(network, frozen=frozen).train()
        headed(torch.rand(2, 1, 16, 16)).classes.sum().backward()
        gradients = [value.grad for value in network.encoder.parameters()]
        assert all(value is None for value in gradients) == frozen


def test_what_is_said_of_windows_is_collected_in_evaluation_only():
    headed = with_head(nnunet(2)).eval()
    image = torch.rand(2, 1, 16, 16)
    with torch.no_grad(), headed.collecting() as collected:
        segmentation = headed(image)
        headed(image)
    assert segmentation.shape == (2, 2, 16, 16)
    assert len(collected) == 2
    expected = segmentation.softmax(1)[:, 1].flatten(1).sum(1)
    assert torch.allclose(collected[0][1], expected)
    headed(image)
    assert len(collected) == 2
    assert sum(case_probabilities(collected)) == pytest.approx(1)


def test_the_loss_is_that_of_both_and_masks_what_does_not_count():
    weights = torch.tensor([1.0, 2.0, 1.0])
    loss = HeadedLoss(lambda output, target: output.mean(), 0.0, weights)
    loss.weight = 0.5
    loss.known = torch.tensor([1, -1, 0])
    segmentation = torch.full((3, 2), 4.0)
    classes = torch.randn(3, 3, requires_grad=True)
    expected = functional.cross_entropy(classes[[0, 2]], torch.tensor([1, 0]), weight=weights)
    found = loss(Headed(segmentation, classes), None)
    assert torch.allclose(found, 4 + 0.5 * expected)
    assert loss.class_loss == pytest.approx(expected.item())
    assert loss(segmentation, None) == 4
    loss.known = torch.tensor([-1, -1, -1])
    nothing = loss(Headed(segmentation, classes), None)
    nothing.backward()
    assert nothing == 4
    assert torch.equal(classes.grad, torch.zeros(3, 3))


def test_a_head_can_be_compiled():
    headed = with_head(nnunet(2)).train()
    image = torch.rand(2, 1, 16, 16)
    compiled = torch.compile(headed, backend="eager")
    for _ in range(2):
        found, expected = compiled(image), headed(image)
        assert torch.equal(found.classes, expected.classes)
        assert torch.equal(found.segmentation, expected.segmentation)


def _train_headed(folder, rank_device):
    """Train a step in each of two processes, as nnU-Net shares a batch."""
    torch.manual_seed(0)
    headed = with_head(nnunet(2, deep_supervision=True)).train()
    network = torch.nn.parallel.DistributedDataParallel(headed)
    loss = HeadedLoss(
        lambda outputs, target: sum((output**2).mean() for output in outputs), 0.0, torch.ones(3)
    )
    loss.weight = 0.5
    rank = torch.distributed.get_rank()
    loss.known = torch.tensor([[1, -1], [-1, -1]][rank])  # of one of them no patch counts
    torch.manual_seed(rank)
    loss(network(torch.rand(2, 1, 16, 16)), None).backward()
    gradients = [value.grad for value in network.parameters()]
    torch.save(gradients, folder / f"{rank}.pt")


def test_processes_that_share_a_batch_share_the_gradients_of_the_head(tmp_path):
    run_ranks(2, "gloo", _train_headed, (tmp_path,))
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first, second) for first, second in zip(one, other, strict=True))
    assert all(value.abs().sum() > 0 for value in one[-2:])


def test_no_unit_of_the_head_can_die():
    head = ClassHead([2], 3, 8, 0.0)
    with torch.no_grad():
        head.layers[1].bias.fill_(-100.0)
    features = torch.rand(4, 2, 8, 8)
    head([features], torch.ones(4, 1, 8, 8))[:, 0].sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in head.layers[1].parameters())
