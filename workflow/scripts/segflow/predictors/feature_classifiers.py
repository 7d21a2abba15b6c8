"""Classifiers that are fitted to features of cases, and nothing about them chosen."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

N_ITERATIONS = 5000  # of logistic regression, to the optimum
LEAST_CASES = 5  # in a leaf of a tree: data sets are small


def classify(
    features: np.ndarray,
    truth: np.ndarray,
    others: np.ndarray,
    n_classes: int,
    method: str,
    seed: int,
) -> np.ndarray:
    """Fit a classifier to training cases and return the probabilities of classes of others.

    Parameters
    ----------
    features : ndarray of float
        Of shape (training cases, features); NaN where a feature is undefined.
    truth : ndarray of int
        Of shape (training cases,): the place of the class of each.
    others : ndarray of float
        Of shape (cases, features).
    n_classes : int
        Number of classes.
    method : {'logistic_regression', 'gradient_boosting'}
        What is fitted: a regression on standardised features, undefined ones replaced by the
        median and marked, with scikit-learn's penalty; or boosted trees, 100 of them.
    seed : int
        Seed of the trees.

    Returns
    -------
    ndarray of float
        Of shape (cases, classes). A class without a training case has the probability 0.

    Raises
    ------
    ValueError
        If the training cases are not of two classes at least.
    """
    known = np.unique(truth)
    if len(known) < 2:
        raise ValueError(f"training cases are of {len(known)} classes, two are needed at least")
    if method == "logistic_regression":
        model = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True),
            StandardScaler(),
            LogisticRegression(max_iter=N_ITERATIONS),
        )
    else:
        model = HistGradientBoostingClassifier(
            min_samples_leaf=LEAST_CASES, early_stopping=False, random_state=seed
        )
    found = np.zeros((len(others), n_classes))
    there = ~np.isnan(features).all(axis=0)  # what is never defined tells nothing
    if len(others):
        model.fit(features[:, there], truth)
        found[:, known] = model.predict_proba(others[:, there])
    return found
