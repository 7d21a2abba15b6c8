"""Validation cases side by side, and the scores of what post-processing leaves of them."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from segflow.evaluation.lesions import LesionRule, match_lesions
from segflow.files.labels import Labels, foreground
from segflow.images.sizes import at_least
from segflow.predictors.components import CaseTable
from segflow.predictors.steps import find_components, pool_pieces, scopes_of


@dataclass(frozen=True)
class Scores:
    """Scores of all cases; NaN where both masks are empty, or neither has a lesion.

    Parameters
    ----------
    dice : ndarray of float
        Of shape (case, label).
    lesion_f1 : ndarray of float
        Of shape (case, label with lesions).
    """

    dice: np.ndarray
    lesion_f1: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Scores":
        """Return the scores of some cases."""
        return Scores(self.dice[chosen], self.lesion_f1[chosen])


class Cohort:
    """The tables of all validation cases, side by side, and the scores of what steps leave.

    Parameters
    ----------
    tables : dict of str to CaseTable
        The tables by case.
    labels : dict
        Labels and regions of the data set.
    rule : LesionRule or None
        What counts as a lesion and as found; None if detection is not scored.
    """

    def __init__(
        self, tables: dict[str, CaseTable], labels: Labels, rule: LesionRule | None = None
    ):
        self.cases = sorted(tables)
        chosen = [tables[case] for case in self.cases]
        voxel_mm3 = [table.voxel_mm3 for table in chosen]
        self.pool = pool_pieces([table.prediction for table in chosen], voxel_mm3)
        self.truth = pool_pieces([table.reference for table in chosen], voxel_mm3)
        starts = np.cumsum(
            [[0, 0, 0], *([len(t.prediction.values), len(t.reference.values), 0] for t in chosen)],
            axis=0,
        )
        self.shared = np.concatenate(
            [table.shared + start for table, start in zip(chosen, starts, strict=False)]
        )
        self.labels = foreground(labels)
        self.scopes = scopes_of(labels)
        self.rule = rule
        self.untouched = ~self.pool.pieces.is_hole
        self._weigh_pieces()
        names = rule.labels if rule else ()
        everything = np.ones(len(self.truth.case), bool)
        self.lesions = {
            name: find_components(self.truth, everything, self.labels[name]) for name in names
        }

    def _weigh_pieces(self) -> None:
        """Gather what each piece adds to the Dice of each label.

        Row i of `weights` holds the true positives of piece i for each label, then its voxels for
        each label. With them Dice = 2 TP / (predicted + reference voxels).
        """
        n, n_labels = len(self.pool.case), len(self.labels)
        rows, columns, values = [], [], []
        self.reference_voxels = np.zeros((len(self.cases), n_labels))
        for column, members in enumerate(self.labels.values()):
            own = np.isin(self.pool.pieces.values, members)
            true = np.where(own, self.overlaps(members), 0)
            for place, counts in ((column, true), (n_labels + column, self.pool.pieces.voxels)):
                kept = np.flatnonzero(own & (counts > 0))
                rows.append(kept)
                columns.append(np.full(len(kept), place))
                values.append(counts[kept])
            inside = np.isin(self.truth.pieces.values, members)
            self.reference_voxels[:, column] = np.bincount(
                self.truth.case[inside], self.truth.pieces.voxels[inside], len(self.cases)
            )
        places = np.concatenate(rows), np.concatenate(columns)
        self.weights = csr_array(
            (np.concatenate(values).astype(float), places), shape=(n, 2 * n_labels)
        )

    def overlaps(self, members: list[int] | tuple[int, ...]) -> np.ndarray:
        """Return the voxels that each piece shares with some labels of the reference."""
        chosen = self.shared[np.isin(self.truth.pieces.values[self.shared[:, 1]], members)]
        counts = np.bincount(chosen[:, 0], chosen[:, 2], len(self.pool.case))
        return counts.astype(np.int64)

    def sums(self, pieces: np.ndarray) -> np.ndarray:
        """Return the weights of some pieces (indices), summed over each case."""
        n = len(pieces)
        places = self.pool.case[pieces], pieces
        chosen = csr_array((np.ones(n), places), shape=(len(self.cases), len(self.pool.case)))
        return (chosen @ self.weights).toarray()

    def score(self, present: np.ndarray, sums: np.ndarray | None = None) -> Scores:
        """Return the scores of the pieces that are there.

        Parameters
        ----------
        present : ndarray of bool
            Of shape (piece,).
        sums : ndarray of float or None
            Their weights, summed over each case, if these are known.
        """
        if sums is None:
            sums = self.sums(np.flatnonzero(present))
        n_labels = len(self.labels)
        both = sums[:, n_labels:] + self.reference_voxels
        dice = np.full(both.shape, np.nan)
        np.divide(2 * sums[:, :n_labels], both, out=dice, where=both > 0)
        lesion_f1 = np.empty((len(self.cases), len(self.lesions)))
        for column, name in enumerate(self.lesions):
            lesion_f1[:, column] = self._lesion_f1(name, present)
        return Scores(dice, lesion_f1)

    def _lesion_f1(self, name: str, present: np.ndarray) -> np.ndarray:
        """Return 2 TP / (predicted + reference lesions) of each case for one label."""
        true, found = self.lesions[name], find_components(self.pool, present, self.labels[name])
        kinds = (true, len(self.truth.case)), (found, len(self.pool.case))
        places, large = [], []
        for components, n in kinds:
            place = np.full(n, -1)
            large.append(at_least(components.volume_mm3, self.rule.min_volume_mm3))
            kept = large[-1][components.number]
            place[components.members[kept]] = components.number[kept]
            places.append(place)
        pairs = np.column_stack([places[0][self.shared[:, 1]], places[1][self.shared[:, 0]]])
        both = (pairs >= 0).all(1)
        pairs, where = np.unique(pairs[both], axis=0, return_inverse=True)
        shared = np.bincount(where.ravel(), self.shared[both, 2], len(pairs))
        # Lesions of different cases share no voxel, so all cases are matched in one call.
        matched = match_lesions(pairs, shared, true.voxels, found.voxels, self.rule)
        n_cases = len(self.cases)
        n_matched = np.bincount(true.case[matched[:, 0]], minlength=n_cases)
        n_lesions = sum(
            np.bincount(components.case[kept], minlength=n_cases)
            for (components, _), kept in zip(kinds, large, strict=True)
        )
        f1 = np.full(n_cases, np.nan)
        return np.divide(2 * n_matched, n_lesions, out=f1, where=n_lesions > 0)
