"""ADNI (Alzheimer's Disease Neuroimaging Initiative) in the BIDS layout that Clinica writes.

A T1-weighted image is ``sub-ADNI002S0295/ses-M000/anat/sub-ADNI002S0295_ses-M000_T1w.nii.gz``
(``ses-M00`` in older versions). ``participants.tsv`` gives the sex, and one
``sub-ADNI002S0295/sub-ADNI002S0295_sessions.tsv`` for each subject gives diagnosis, age and
scores of each visit. The visits are those of the clinical data: many have no image.

The subgroups of ADNI 2 count as what they are subgroups of: early and late mild cognitive
impairment (EMCI, LMCI) as MCI, and significant memory concern (SMC) as CN, for these participants
score within the normal range. Where a raw download of ADNI is all there is, the rule
`convert_adni_to_bids` makes the BIDS folder of it.
"""

import re
from pathlib import Path

from segflow.datasets.converters import bids
from segflow.datasets.sources import Catalogue
from segflow.files.folders import visible

OPTIONS = {
    name: bids.OPTIONS[name]
    for name in ("sessions", "diagnoses", "ambiguous", "missing", "incomplete")
}
BASELINE = "ses-M0+"
DOWNLOADED = re.compile(r"\d{3}_S_\d{4,}")
CLINICAL = ("ADNIMERGE*.csv", "DXSUM*.csv")


def find_cases(raw: Path, **options) -> Catalogue:
    """Return one case for each session with a T1-weighted image and a diagnosis.

    Parameters
    ----------
    raw : Path
        The BIDS folder. Its ``derivatives`` are not looked at.
    **options
        Those of ``OPTIONS``; see `segflow.datasets.converters.bids.find_cases`.

    Raises
    ------
    FileNotFoundError
        If `raw` has no T1-weighted images, or is a download that was not converted to BIDS.
    """
    try:
        return bids.find_cases(raw, baseline=BASELINE, **options)
    except FileNotFoundError:
        if not (found := _download(raw)):
            raise
    raise FileNotFoundError(
        f"{raw}: {found} belongs to a download of ADNI; convert it to BIDS with Clinica (clinica "
        "convert adni-to-bids DOWNLOAD CLINICAL_DATA BIDS --modalities T1) and give that folder, "
        "or name both under raw_downloads in the configuration, which does the same"
    )


def _download(raw: Path) -> str:
    """Return the first sign that a folder holds ADNI as downloaded; empty if there is none."""
    inside = [path for path in visible(raw) if path.is_dir()]
    for folder in (raw, *inside):
        subjects = [path for path in visible(folder, "*_S_*") if DOWNLOADED.fullmatch(path.name)]
        tables = [path for name in CLINICAL for path in visible(folder, name)]
        for path in (*subjects, *tables):
            return str(path.relative_to(raw))
    return ""
