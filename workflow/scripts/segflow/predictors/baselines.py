"""Probabilities of classes that need no image: how frequent classes are among training cases."""

import numpy as np

# Their titles, by name; every table of classifiers has them.
BASELINES = {"class_prior": "Class prior", "majority_class": "Majority class"}


def class_prior(labels: list[str], classes: list[str]) -> np.ndarray:
    """Return the share of each class among training cases.

    Parameters
    ----------
    labels : list of str
        Class of each training case; empty where it is not known.
    classes : list of str
        Names of the classes.

    Returns
    -------
    ndarray of float
        Of shape (classes,), with the sum 1.

    Raises
    ------
    ValueError
        If the class of no training case is known.
    """
    counts = np.array([labels.count(name) for name in classes], float)
    if not counts.any():
        raise ValueError(
            f"no training case has a class; cases.csv: class_label: allowed are "
            f"{', '.join(classes)}"
        )
    return counts / counts.sum()


def majority_class(labels: list[str], classes: list[str]) -> np.ndarray:
    """Return 1 for the most frequent class among training cases, the first of equal ones, else 0.

    See `class_prior`.
    """
    prior = class_prior(labels, classes)
    return (np.arange(len(classes)) == prior.argmax()).astype(float)
