"""Raw folders, small but of the exact layout, for the configurations of `config/studies`."""

from collections.abc import Iterable
from pathlib import Path

from inbreast import make_inbreast
from layouts import LAYOUTS, copy_busi
from made_cohort import make_cohort
from project import ROOT

STUDIES = {path.stem: path for path in sorted((ROOT / "config/studies").glob("*.yaml"))}
# A tenth of each class is held out.
BUSI = {"benign": 20, "malignant": 22, "normal": 14}
# Mammograms must be large enough for a hundred erosions of the breast.
MAKERS = {
    **LAYOUTS,
    "adni": lambda folder: make_cohort(folder, each=5, visits=(0, 12), spacing_mm=4),
    "busi": lambda folder: copy_busi(folder, BUSI),
    "inbreast": lambda folder: make_inbreast(folder, n_patients=14, size=(1024, 768)),
}


def make_raw_folders(datasets: Iterable[str], folder: Path) -> dict[str, str]:
    """Make the raw data of data sets, and return the folder of each."""
    made = {}
    for name in datasets:
        made[name] = str(folder / name)
        (folder / name).mkdir(parents=True)
        MAKERS[name](folder / name)
    return made
