"""Figures of the report on one data set, by the section that they stand in."""

from pathlib import Path
from typing import Any

from segflow.report.asked import Asked
from segflow.report.page import Picture, embed
from segflow.report.tables import SPLITS


def figures(asked: Asked, folder: Path) -> dict[str, list[Picture]]:
    """Return the figures that every run has by the section that they stand in.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    """
    titles = asked.all_titles
    named = {
        "classification": [
            ("classification_curves.png", "ROC and precision-recall curves", "Of all classifiers"),
            ("classification_confusion.png", "Confusion matrices", "Of all classifiers"),
            ("classification_reliability.png", "Reliability of classes", "Of all classifiers"),
            ("classification_cases.png", "Probability of the true class", "Of every case"),
            *(
                (
                    f"{name}/saliency.png",
                    f"{titles[name]}: what it looks at",
                    "Red adds to the logit of the class, blue takes from it; mean over validation "
                    "cases that are told rightly, against the same brain blurred",
                )
                for name in asked.models
            ),
        ],
        "training": [
            ("learning_curves.png", "All models side by side", "Score of validation patches"),
            *(
                (
                    f"{name}/training.png",
                    f"{titles[name]}: losses and scores of its folds",
                    "The score on random patches of validation cases is a sign, no result",
                )
                for name in asked.models
            ),
            *(
                (
                    f"{name}/augmentation.png",
                    f"{titles[name]}: augmentation",
                    "Patches before and after augmentation",
                )
                for name in asked.models
            ),
        ],
        "inference": [("inference.png", "Speed against Dice", "Of the ways to predict")],
        "data": [
            ("near_duplicates.png", "Nearly equal images", "Pairs; marked where classes differ"),
            ("preparation.png", "Preparation of images", "After each step"),
            ("brains.png", "Normalised brains", "Those that agree least with the template"),
        ],
    }
    return _embedded(named, folder)


def case_figures(
    asked: Asked, folder: Path, best: dict[str, Any], first_split: str
) -> dict[str, list[Picture]]:
    """Return the figures of label maps by the section that they stand in; those that there are.

    Parameters
    ----------
    asked : Asked
        What the run asks.
    folder : Path
        Folder of the data set's results.
    best : dict
        ``best.json`` of the data set.
    first_split : {'val', 'test'}
        The split whose cases the page begins with, which are not shown again.
    """
    name, other = best["predictor"], "test" if first_split == "val" else "val"
    named = {
        "comparison": [
            ("volumes.png", "Volumes against the reference", "Differences of volumes"),
            ("reliability.png", "Reliability", "Probabilities against what is there"),
            ("froc.png", "FROC", "Sensitivity of lesions against false positives per case"),
        ],
        "cases": [
            *(
                (
                    f"case_comparison_{split}.png",
                    f"All predictors: {SPLITS[split].lower()}",
                    "The same cases as all predictors see them",
                )
                for split in SPLITS
            ),
            (
                f"{name}/cases_{other}.png",
                f"Best, median and worst: {SPLITS[other].lower()}",
                asked.titles[name],
            ),
        ],
        "postprocessing": [
            (f"{name}/postprocessing.png", f"Search for {shown}", "What thresholds are worth")
            for name, shown in asked.titles.items()
        ],
    }
    return _embedded(named, folder)


def _embedded(
    named: dict[str, list[tuple[str, str, str]]], folder: Path
) -> dict[str, list[Picture]]:
    """Return the figures that there are of file, name and text of those of each section."""
    return {
        section: [
            embed(folder / file, name, f"{name}. {text}.")
            for file, name, text in shown
            if (folder / file).exists()
        ]
        for section, shown in named.items()
    }
