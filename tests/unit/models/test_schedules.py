import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, OneCycleLR

from segflow.models.schedules import Constant, CosineRestarts, OneCycle, Plateau

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


def test_one_cycle_moves_the_momentum_of_sgd():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    OneCycle(optimizer, PEAK, 10).step(3)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.85)


def test_cosine_restarts_are_those_of_pytorch():
    theirs, ours = adamw(), adamw()
    scheduler = CosineAnnealingWarmRestarts(theirs, T_0=3, T_mult=2, eta_min=1e-4)
    schedule = CosineRestarts(ours, PEAK, 1e-4, n_epochs=3, growth=2)
    for epoch in range(25):
        schedule.step(epoch)
        assert rates(ours)[0] == pytest.approx(rates(theirs)[0])
        theirs.step()
        scheduler.step()


def test_a_plateau_lowers_the_rate_wherever_training_goes_on():
    scores = [0.1, 0.2, 0.2, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]
    # One epoch without a better score is borne, the second lowers the rate.
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    for epoch, factor in enumerate(expected):
        optimizer = adamw()  # as after a restart
        schedule = Plateau(optimizer, PEAK, 1e-6, 1, 0.5, lambda: scores)
        schedule.step(epoch)
        assert rates(optimizer)[0] == pytest.approx(PEAK * factor), epoch


def test_a_constant_rate_stays():
    optimizer = adamw()
    Constant(optimizer, 0.5).step(99)
    assert rates(optimizer)[0] == 0.5
