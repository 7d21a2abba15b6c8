import pytest

from segflow.models.stopping import Patience


def test_the_best_epoch_is_the_first_of_equal_ones():
    patience = Patience(2)
    assert [patience.improved(epoch, s) for epoch, s in enumerate([0.1, 0.3, 0.3, 0.2])] == [
        True,
        True,
        False,
        False,
    ]
    assert (patience.best_epoch, patience.best_score) == (1, 0.3)


@pytest.mark.parametrize(("n_done", "lost"), [(0, False), (3, False), (4, True)])
def test_patience_is_lost_after_so_many_epochs_without_a_better_one(n_done, lost):
    patience = Patience(2)
    patience.improved(1, 0.5)
    assert patience.is_lost(n_done) is lost


def test_without_a_number_patience_is_endless():
    assert not Patience(0).is_lost(1000)
