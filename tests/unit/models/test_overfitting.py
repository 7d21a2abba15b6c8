"""Every network that segments can learn two cases by heart."""

import pytest
import torch

from segflow.images.nifti import read_image, read_labels
from segflow.models.losses import CompoundLoss
from segflow.models.network_builders import build_network
from segflow.models.networks import NETWORKS, check_network, fit_patch

pytestmark = pytest.mark.long
ENOUGH = 0.95
MOST_STEPS = 300
EDGE = {"pspnet": 96, "encoder_decoder": 96}  # draws what it sees at an eighth; has no skips
SMALL = {
    "unet_s2": {"features": [8, 16, 32, 32, 32, 8]},
    "unet_s3": {"features": [8, 16, 32, 32, 32, 8]},
    "attention_unet": {"features": [8, 16, 32, 32, 32]},
    "residual_unet": {"features": [8, 16, 32]},
    "encoder_decoder": {"dropout": 0.0},
    "segresnet": {"features": 8, "blocks": [1, 1, 1]},
    "swin_unetr": {"features": 12},
    "dense_seg": {"growth": 8, "blocks": [2, 2, 2]},
}
CASES = [
    (name, network.dimensions[0]) for name, network in NETWORKS.items() if not network.tells_classes
]
CASES += [("residual_unet", 3), ("segresnet", 3), ("swin_unetr", 3), ("vnet", 3), ("dense_seg", 3)]


@pytest.fixture
def two_cases(hippocampus):
    """Return a patch around the hippocampus of two cases, foreground against the rest."""

    def cut(size):
        images, labels = [], []
        for path in sorted((hippocampus / "imagesTr").glob("*.nii.gz"))[:2]:
            image = torch.as_tensor(read_image(path)[0][0], dtype=torch.float32)
            label = torch.as_tensor(read_labels(hippocampus / "labelsTr" / path.name)[0] > 0)
            image = (image - image.mean()) / image.std()
            if len(size) == 2:
                slices = label.sum((1, 2)).argmax()
                image, label = image[slices], label[slices]
            grown = torch.nn.functional.interpolate(
                torch.stack([image, label.float()])[None], size=size
            )[0]
            images.append(grown[:1])
            labels.append(grown[1:].round().long())
        return torch.stack(images), torch.stack(labels)

    return cut


@pytest.mark.parametrize(("name", "dimension"), CASES)
def test_two_cases_are_learnt_by_heart(two_cases, name, dimension):
    options = check_network(
        {"name": name, "options": SMALL.get(name, {})},
        "2d" if dimension == 2 else "3d_fullres",
        "m.yaml",
    )
    size = fit_patch(name, options, [EDGE.get(name, 48 if dimension == 2 else 32)] * dimension)
    image, label = two_cases(size)
    torch.manual_seed(0)
    network = build_network(name, options, dimension, 1, 2)
    loss = CompoundLoss(
        [{"term": "cross_entropy", "weight": 1}, {"term": "dice", "weight": 1}], False, None, True
    )
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(MOST_STEPS):
        output = network(image)
        optimizer.zero_grad()
        cost = loss(output, label)
        cost.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        found = output.argmax(1, keepdim=True)
        dice = 2 * (found * label).sum() / (found.sum() + label.sum())
        if dice > ENOUGH:
            return
    pytest.fail(f"Dice {dice:.3f} after {MOST_STEPS} steps")
