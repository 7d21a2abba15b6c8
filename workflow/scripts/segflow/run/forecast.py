"""What a run will take, told before it starts; ``docs/costs.md`` says where figures are from."""

from dataclasses import dataclass
from math import prod

from segflow.files.cases import Case
from segflow.run.configuration import Run

# Of a training of 250,000 iterations on one A100 (Isensee et al., nnU-Net Revisited, 2024).
HOURS = {"default": 9.0, "resenc_m": 12.0, "resenc_l": 35.0, "resenc_xl": 66.0}
ITERATIONS = 250_000
BYTES = 2.0  # of a voxel of a converted image
PREPROCESSED = 3.5  # bytes of a voxel of each channel
PROBABILITY = (0.02, 0.6)  # bytes of a voxel of a prediction
LABEL_MAP = 0.01  # bytes of a voxel
SMALLEST = 4096  # bytes that a file takes at least


@dataclass(frozen=True)
class Forecast:
    """What the run takes on one data set.

    Parameters
    ----------
    trainings : int
        Networks to train.
    hours : float or None
        GPU hours of these on one A100; None where nobody measured one of the models.
    cases : int or None
        Cases; None while they are not converted.
    files : int or None
        Files that the run leaves.
    gigabytes : tuple of float or None
        Least and most disk space without checkpoints; None while cases are not converted.
    """

    trainings: int
    hours: float | None
    cases: int | None
    files: int | None
    gigabytes: tuple[float, float] | None


def forecast(run: Run, dataset: str, cases: list[Case] | None) -> Forecast:
    """Tell what a run takes on a data set.

    Parameters
    ----------
    run : Run
        What the configuration asks for.
    dataset : str
        Name of the data set.
    cases : list of Case or None
        Its cases, if they are converted.
    """
    trainings = sum(len(run.folds_of(model)) for model in run.models)
    known = [training_hours(model) for model in run.models.values()]
    hours = None
    if None not in known:
        folds = (len(run.folds_of(model)) for model in run.models)
        hours = sum(each * n for each, n in zip(known, folds, strict=True))
    if cases is None:
        return Forecast(trainings, hours, None, None, None)
    channels = len(run.datasets[dataset]["channels"])
    n_configurations = len({run.preprocessing(model) for model in run.models})
    n_folds, models, predictors = len(run.folds), len(run.models), len(run.predictors)
    files, low, high = 0, 0.0, 0.0
    for case in cases:
        voxels = prod(map(int, case.shape.split()))
        tested = case.split == "test"
        predictions = models * (n_folds if tested else 1)
        files += channels + 3 + 4 * n_configurations + (not tested) + 2
        files += 2 * predictions + (8 if tested else 10) * predictors
        images = voxels * channels * (BYTES + PREPROCESSED * n_configurations)
        maps = 2 * predictors * max(SMALLEST, LABEL_MAP * voxels)
        ends = [images + maps + predictions * max(SMALLEST, p * voxels) for p in PROBABILITY]
        low, high = low + ends[0], high + ends[1]
    return Forecast(trainings, hours, len(cases), files, (low / 1e9, high / 1e9))


def training_hours(model: dict) -> float | None:
    """Return the hours of a training on one A100; None of a model that nobody measured.

    Measured are nnU-Net's own 3D networks; an iteration of others takes another time.
    """
    own = model["network"]["name"] == "nnunet" and not model["overrides"] and "head" not in model
    if not own or model["configuration"] != "3d_fullres":
        return None
    training = model["training"]
    n_iterations = training["epochs"] * training["iterations_per_epoch"]
    return HOURS[model["planning"]["planner"]] * n_iterations / ITERATIONS
