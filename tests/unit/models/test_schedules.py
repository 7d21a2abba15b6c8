import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from segflow.models.schedules import OneCycle

PEAK = 0.02


def adamw():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def rates(optimizer):
    return optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]


@pytest.mark.parametrize("n_steps", [10, 37, 1000])
def test_one_cycle_is_that_of_pytorch(n_steps):
    theirs, ours = adamw(), adamw()
    scheduler = OneCycleLR(theirs, PEAK, total_steps=n_steps, pct_start=OneCycle.WARM_UP)
    cycle = OneCycle(ours, PEAK, n_steps)
    # PyTorch reaches its peak and its end one step early, so that both are steps of their own.
    peak = OneCycle.WARM_UP * n_steps - 1
    for step in range(n_steps):
        if step <= peak:
            done = OneCycle.WARM_UP * step / peak
        else:
            falling = (step - peak) / (n_steps - 1 - peak)
            done = OneCycle.WARM_UP + (1 - OneCycle.WARM_UP) * falling
        cycle.step(done * n_steps)
        (lr, betas), (expected_lr, expected_betas) = rates(ours), rates(theirs)
        assert lr == pytest.approx(expected_lr, rel=1e-6, abs=1e-12)
        assert betas == pytest.approx(expected_betas)
        theirs.step()
        if step < n_steps - 1:
            scheduler.step()


def test_one_cycle_is_close_to_that_of_pytorch_at_each_step_of_a_long_training():
    theirs, ours = adamw(), adamw()
    scheduler, cycle = OneCycleLR(theirs, PEAK, total_steps=2000), OneCycle(ours, PEAK, 2000)
    for step in range(1999):
        cycle.step(step)
        assert rates(ours)[0] == pytest.approx(rates(theirs)[0], abs=PEAK / 250)
        theirs.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, (PEAK / 25, 0.95)),
        (15, (PEAK * (1 + 1 / 25) / 2, 0.90)),
        (30, (PEAK, 0.85)),
        (100, (PEAK / 25e4, 0.95)),
    ],
)
def test_one_cycle_at_its_turning_points(epoch, expected):
    assert OneCycle(adamw(), PEAK, 100).rate(epoch) == pytest.approx(expected)


def test_the_second_momentum_stays():
    optimizer = adamw()
    OneCycle(optimizer, PEAK, 10).step(5)
    assert rates(optimizer)[1][1] == 0.999
