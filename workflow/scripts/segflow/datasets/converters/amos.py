"""AMOS 2022: abdominal organs in CT and MRI.

The folders ``imagesTr``, ``labelsTr``, ``imagesVa``, ``labelsVa`` and ``imagesTs`` hold
``amos_NNNN.nii.gz``, as does ``labelsTs`` where there is one. The raw folder is ``amos22`` or the
folder around it. Numbers below 500 are CT, the others MRI; task 1 of the challenge takes CT alone.
"""

from collections.abc import Sequence
from pathlib import Path

from segflow.datasets.converters._pairing import by_name, inner_folder, pairs
from segflow.datasets.sources import Catalogue, Problem, SourceCase, no_cases
from segflow.files.suffixes import ending_with

MODALITIES = ["CT", "MRI"]
OPTIONS: dict[str, dict] = {
    "modalities": {
        "description": "Which images are taken: CT, MRI, or both.",
        "type": "array",
        "items": {"enum": MODALITIES},
        "minItems": 1,
        "uniqueItems": True,
        "default": MODALITIES,
    }
}
SUFFIX = ".nii.gz"
PARTS = {"train": "Tr", "val": "Va", "test": "Ts"}
FIRST_MRI = 500


def find_cases(raw: Path, modalities: Sequence[str] = MODALITIES) -> Catalogue:
    """Return the cases of the given modalities.

    The class of a case is its modality. AMOS does not say which cases show the same patient: each
    case counts as one.

    Parameters
    ----------
    raw : Path
        The raw folder.
    modalities : sequence of {'CT', 'MRI'}
        Which images are taken.

    Raises
    ------
    FileNotFoundError
        If `raw` has no images of these modalities.
    """
    root = inner_folder(raw, "amos22")
    cases: list[SourceCase] = []
    problems: list[Problem] = []
    for split, part in PARTS.items():
        files = {}
        for kind in ("images", "labels"):
            paths = ending_with(root / f"{kind}{part}", SUFFIX).values()
            found = by_name(raw, paths, r"(amos_\d{4})", problems)
            files[kind] = {k: path for k, path in found.items() if _modality(k) in modalities}
        for name, image, labels in pairs(
            raw, files["images"], files["labels"], split != "test", problems
        ):
            case = SourceCase(name, name, split, (image,), labels, class_label=_modality(name))
            cases.append(case)
    if not cases:
        wanted = " or ".join(modalities)
        raise no_cases(raw, f"imagesTr/amos_NNNN{SUFFIX} and labelsTr of AMOS 2022 with {wanted}")
    return Catalogue(cases, problems)


def _modality(name: str) -> str:
    return "CT" if int(name.removeprefix("amos_")) < FIRST_MRI else "MRI"
