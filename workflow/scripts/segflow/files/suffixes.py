"""How the names of image files end, whatever their case."""

from pathlib import Path

from segflow.files.folders import visible

NIFTI = (".nii.gz", ".nii")
VOLUMES = (*NIFTI, ".nrrd", ".mha", ".mhd", ".npy")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
DICOM = (".dcm", ".dicom", ".ima")
IMAGES = (*VOLUMES, *PICTURES, *DICOM)


def suffix(path: Path) -> str:
    """Return the suffix of a file in lower case; both parts of ``.nii.gz``."""
    name = path.name.lower()
    return next((known for known in IMAGES if name.endswith(known)), path.suffix.lower())


def may_name_segments(path: Path) -> bool:
    """Say whether a label file may be a DICOM object, which says what its segments are called."""
    return suffix(path) not in (*VOLUMES, *PICTURES, ".xml")


def stem(path: Path) -> str:
    """Return the name of a file without its suffix."""
    return path.name[: len(path.name) - len(suffix(path))]


def ending_with(folder: Path, ending: str) -> dict[str, Path]:
    """Return the visible entries of a folder that end so, in any case, by the rest of the name."""
    ending = ending.lower()
    return {
        path.name[: -len(ending)]: path
        for path in visible(folder)
        if path.name.lower().endswith(ending)
    }
