"""The folds that networks are trained on: those of the cross-validation, and all cases at once."""

from segflow.datasets.folds import Fold

ALL_CASES = "all"  # as nnU-Net calls it


def read_fold(text: str) -> int | str:
    """Read the number of a fold, or ``all``, as jobs are given it.

    Raises
    ------
    ValueError
        If it is neither.
    """
    return text if text == ALL_CASES else int(text)


def fold_of(folds: list[Fold], fold: int | str) -> Fold:
    """Return the cases of a fold; a network of all cases is validated on what it was trained on.

    Raises
    ------
    ValueError
        If there is no such fold.
    """
    if fold == ALL_CASES:
        cases = sorted({*folds[0]["train"], *folds[0]["val"]})
        return {"train": cases, "val": cases}
    if fold not in range(len(folds)):
        raise ValueError(f"fold {fold} of {len(folds)} does not exist")
    return folds[fold]
