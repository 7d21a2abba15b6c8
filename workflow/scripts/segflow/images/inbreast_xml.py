"""INbreast's XML files: property lists of regions of interest (ROIs)."""

import plistlib
from pathlib import Path
from xml.parsers.expat import ExpatError

MIN_POINTS = 3  # of a polygon


def read_images(path: Path) -> list[list[dict]]:
    """Return the ROIs of each image that an INbreast XML file lists.

    Parameters
    ----------
    path : Path
        The property list. INbreast's list one image each.

    Returns
    -------
    list of list of dict
        For each image its ROIs as they are: ``Name``, ``NumberOfPoints``, ``Point_px``, ...

    Raises
    ------
    ValueError
        If the file is damaged or holds something else.
    """
    try:
        content = plistlib.loads(path.read_bytes(), fmt=plistlib.FMT_XML)
    # What plistlib raises for a value that does not fit its tag differs from tag to tag.
    except (ExpatError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read as a property list ({error})") from None
    images = content.get("Images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise ValueError(f"{path}: has no list of Images")
    found = [image.get("ROIs", []) if isinstance(image, dict) else None for image in images]
    if not all(isinstance(rois, list) for rois in found):
        raise ValueError(f"{path}: an entry of Images has no list of ROIs")
    for index, roi in enumerate(roi for rois in found for roi in rois):
        if not isinstance(roi, dict) or not isinstance(roi.get("Point_px", []), list):
            raise ValueError(f"{path}: ROI {index} has no list of points")
    return found


def plain(name: str) -> str:
    """Return the name of an ROI as it is compared: in small letters, without blanks around it."""
    return str(name).strip().casefold()
