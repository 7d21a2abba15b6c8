"""Raw files of any format, read into one kind of image and checked while they are read.

What a format leaves open, a data set's description says under ``reading``.
"""

import math
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip, isal_zlib
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from segflow.files.suffixes import DICOM, NIFTI, PICTURES, suffix
from segflow.images.contours import read_contours
from segflow.images.dicom import read_dicom
from segflow.images.dicom_headers import is_dicom
from segflow.images.nifti import (
    NIFTI_HEADER,
    NIFTI_OFFSET,
    SPACING_TOLERANCE,
    Grid,
    read_grid,
    read_image,
)
from segflow.images.pictures import read_coloured_mask, read_mask, read_picture

FREE_TEXTS = ("descrip", "aux_file", "intent_name", "data_type", "db_name")
# A program and its version, which cannot be mistaken for a date; FSL writes its version alone.
PROGRAM = re.compile(rb"(FSL|ITK|SimpleITK)[\d.]+|[1-9]\.0(\.\d{1,2})?")
# A direction matrix that is this close to a rotation was rounded; one further off is sheared.
ORTHONORMAL_TOLERANCE = 1e-2
UNIT_SPACING = (1.0, 1.0, 1.0)  # of formats that know none, where the description states none
STATE_IT = "mend the header or state reading.spacing_mm"
HEADER_BYTES = 65536  # within which the text of a header ends
EXACT_TOLERANCE = 1e-5  # closer than this there is nothing to repair


@dataclass(frozen=True)
class Volume:
    """An image as it was read.

    Parameters
    ----------
    array : ndarray
        Of shape (channel, z, y, x).
    grid : Grid
        Where the voxels lie.
    repairs : list of str
        What had to be changed to read it.
    photometric, laterality : str
        Of DICOM files: how grey values are shown, and ``L`` or ``R`` of a breast.
    frame_of_reference : str
        Of DICOM files: UID of the coordinates in which they lie.
    place : Grid or None
        Of a single DICOM slice: where it lies in space, if its header tells.
    """

    array: np.ndarray
    grid: Grid
    repairs: list[str] = field(default_factory=list)
    photometric: str = ""
    laterality: str = ""
    frame_of_reference: str = ""
    place: Grid | None = None


def read_volume(path: Path, reading: dict) -> Volume:
    """Read and check an image of any known format.

    Parameters
    ----------
    path : Path
        A NIfTI, NRRD, MetaImage, PNG, JPEG, BMP, TIFF, DICOM or ``.npy`` file, or the folder of
        one DICOM series.
    reading : dict
        The rules of the data set (``reading`` in its description).

    Raises
    ------
    ValueError
        With the file's name, if it is damaged or cannot be read.
    """
    kind = suffix(path)
    if path.is_dir() or kind in DICOM:
        return _read_dicom(path, reading)
    if kind in NIFTI:
        return _read_nifti(path, reading)
    if kind == ".npy":
        array = _read_array(path)
        return Volume(array[None], _grid(array.shape, reading))
    if kind in PICTURES:
        array, repairs = read_picture(path, reading["picture_mode"])
        return Volume(_as_numbers(path, array), _grid(array.shape[1:], reading), repairs)
    if is_dicom(path):
        return _read_dicom(path, reading)
    _check_compressed(path)
    array, grid = read_image(path)
    repairs = []
    if not _states_spacing(path):
        spacings = [(None, size) for size in grid.shape[::-1][: len(grid.origin_mm)]]
        grid, repairs = _with_spacing(path, grid, spacings, reading)
    direction, deviation = _closest_rotation(path, grid.direction)
    if deviation >= EXACT_TOLERANCE:
        grid = replace(grid, direction=direction)
        repairs.append(_deviates(deviation))
    return Volume(array, grid, repairs)


def read_label_map(path: Path, shape: tuple[int, ...], reading: dict) -> Volume:
    """Read a file of a reference segmentation, with the values that it holds.

    Parameters
    ----------
    path : Path
        A file as in `read_volume`, or an XML file of contours.
    shape : tuple of int
        Of the image, as (z, y, x): contours do not know it.
    reading : dict
        See `read_volume`.

    Raises
    ------
    ValueError
        If it is damaged, cannot be read or has several channels.
    """
    if suffix(path) == ".xml":
        mask, findings = read_contours(path, shape[1:], reading["contours"])
        return Volume(mask[None, None], _grid((1, *mask.shape), reading), findings)
    if suffix(path) in PICTURES:
        colours = reading.get("label_colours")
        array = read_coloured_mask(path, colours) if colours else read_mask(path)
        return Volume(array[None], _grid(array.shape, reading))
    volume = read_volume(path, reading)
    if len(volume.array) != 1:
        raise ValueError(f"{path}: a label map has one channel, found {len(volume.array)}")
    return volume


def knows_its_grid(path: Path) -> bool:
    """Say whether a format stores spacing, origin and direction."""
    return suffix(path) not in (*PICTURES, ".npy", ".xml")


def is_clean(path: Path) -> bool:
    """Say whether a ``.nii.gz`` file holds no words but a program's name.

    The header's free text, extensions, the name that gzip stores and bytes before and after the
    voxels may tell who was scanned, where and when.
    """
    with path.open("rb") as file:
        stored_name = file.read(4)[3] & 0b11100  # the flags of gzip: extra field, name, comment
        file.seek(-4, os.SEEK_END)
        n_bytes = int.from_bytes(file.read(4), "little")  # modulo 2**32, of the last gzip member
    with igzip.open(path) as file:
        header = nibabel.Nifti1Header.from_fileobj(file, check=False)
    texts = [bytes(header[name]).strip(b"\0 ") for name in FREE_TEXTS]
    harmless = all(text in (b"", b"none") or PROGRAM.fullmatch(text) for text in texts)
    n_voxels = math.prod(header.get_data_shape())
    n_expected = NIFTI_OFFSET + n_voxels * header.get_data_dtype().itemsize
    nothing_else = n_bytes == n_expected % 2**32 and not header.extensions
    return harmless and not stored_name and nothing_else


def _read_dicom(path: Path, reading: dict) -> Volume:
    image = read_dicom(path, reading.get("spacing_mm"))
    repairs = [f"the header gives no {what}: took reading.spacing_mm" for what in image.stated]
    return Volume(
        image.array,
        image.grid,
        repairs,
        image.photometric,
        image.laterality,
        image.frame_of_reference,
        image.place,
    )


def _read_nifti(path: Path, reading: dict) -> Volume:
    """Read a NIfTI file, with its checksum.

    SimpleITK returns what it could read of a truncated or corrupt gzip file, and turns NaN in
    NIfTI files into 0: so the voxels come from nibabel, and only the grid from SimpleITK.
    """
    try:
        content = path.read_bytes()
        if suffix(path) == ".nii.gz":
            content = igzip.decompress(content)
    except (OSError, EOFError, zlib.error, isal_zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is damaged ({error})") from None
    try:
        image = nibabel.Nifti1Image.from_bytes(content)
        values = _stored_or_scaled(content, image.dataobj)
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as NIfTI ({error})") from None
    if values.dtype.names:
        raise ValueError(f"{path}: cannot be read (colour in NIfTI: give one file per channel)")
    values = _as_numbers(path, values)
    while values.ndim > 4 and values.shape[3] == 1:
        values = values[:, :, :, 0]
    if not 2 <= values.ndim <= 4:
        raise ValueError(f"{path}: cannot be read (2, 3 or 4 axes are allowed: {values.ndim})")
    array = values.T if values.ndim == 4 else values.T[None]
    if values.ndim == 2:
        array = array[:, None]
    repairs = []
    try:
        grid = read_grid(path)
    except ValueError:
        grid, repair = _orthonormal_grid(path, image.affine, array.shape[1:])
        repairs.append(repair)
    grid, found = _with_header_spacing(path, content, grid, reading)
    repairs += found
    if not np.isfinite([*grid.spacing_mm, *grid.origin_mm, *grid.direction]).all():
        raise ValueError(f"{path}: cannot be read (its spacing, origin or direction is no number)")
    return Volume(array, grid, repairs)


def _stored_or_scaled(content: bytes, voxels: ArrayProxy) -> np.ndarray:
    """Return the voxels of a NIfTI file: a view of its content, unless they must be scaled."""
    if (voxels.slope, voxels.inter) != (1, 0):
        return np.asanyarray(voxels)
    try:
        return np.ndarray(voxels.shape, voxels.dtype, content, voxels.offset, order="F")
    except TypeError as error:
        raise ValueError(error) from None


def _with_header_spacing(
    path: Path, content: bytes, grid: Grid, reading: dict
) -> tuple[Grid, list[str]]:
    """Return a grid with the spacing on which all of a NIfTI header agrees, and what was repaired.

    SimpleITK and nibabel take 1 mm where the header has 0; SimpleITK keeps a minus sign.
    """
    header = nibabel.Nifti1Header(content[:NIFTI_HEADER], check=False)
    sizes = np.abs(header["pixdim"][1 : len(grid.origin_mm) + 1].astype(float))
    steps = np.full(3, np.nan)
    if header["sform_code"] > 0:
        steps = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
    spacings = []
    for axis, size in enumerate(sizes):
        known = [value for value in (size, steps[axis]) if np.isfinite(value) and value > 0]
        agree = known and max(known) <= (1 + SPACING_TOLERANCE) * min(known)
        spacings.append((known[0] if agree else None, grid.shape[::-1][axis]))
        if known and not agree:
            text = f"{known[0]:g} mm by pixdim and {known[1]:g} mm by the sform"
            if "spacing_mm" not in reading:
                raise ValueError(f"{path}: the spacing along {'xyz'[axis]} is {text}; {STATE_IT}")
    return _with_spacing(path, grid, spacings, reading)


def _with_spacing(
    path: Path, grid: Grid, spacings: list[tuple[float | None, int]], reading: dict
) -> tuple[Grid, list[str]]:
    """Return a grid with the known spacings, and with stated ones where they are not known.

    Parameters
    ----------
    path : Path
        The file.
    grid : Grid
        As it was read.
    spacings : list of tuple
        Along x, y and, in 3D, z: the spacing in mm, or None, and the number of voxels. An axis of
        one voxel needs none.
    reading : dict
        The rules of the data set.

    Raises
    ------
    ValueError
        If a spacing is neither known nor stated.
    """
    found, repairs = list(grid.spacing_mm), []
    for axis, (spacing, n_voxels) in enumerate(spacings):
        place = 2 - axis
        if spacing is not None:
            if not np.isclose(found[place], spacing, rtol=SPACING_TOLERANCE):
                repairs.append(f"spacing along {'xyz'[axis]} read as {found[place]:g}")
                found[place] = spacing
        elif "spacing_mm" in reading or n_voxels == 1:
            found[place] = float(reading.get("spacing_mm", UNIT_SPACING)[place])
            repairs.append(f"no spacing along {'xyz'[axis]}: took {found[place]:g} mm")
        else:
            raise ValueError(f"{path}: the header gives no spacing along {'xyz'[axis]}; {STATE_IT}")
    return replace(grid, spacing_mm=tuple(map(float, found))), repairs


def _states_spacing(path: Path) -> bool:
    """Say whether a MetaImage or NRRD file gives a spacing, for which SimpleITK else takes 1."""
    pattern = {
        ".mha": rb"(?m)^Element(Spacing|Size) *=",
        ".mhd": rb"(?m)^Element(Spacing|Size) *=",
        ".nrrd": rb"(?m)^(space directions|spacings): *(?!.*nan)",
    }.get(suffix(path))
    with path.open("rb") as file:
        return pattern is None or re.search(pattern, file.read(HEADER_BYTES)) is not None


def _orthonormal_grid(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[Grid, str]:
    """Return the grid of a file whose axes are not quite at right angles.

    Raises
    ------
    ValueError
        If the axes are further off than rounding explains.
    """
    matrix = np.diag([-1, -1, 1]) @ affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    if not (np.isfinite(spacing).all() and spacing.all()):
        raise ValueError(f"{path}: cannot be read (the header gives no spacing)")
    direction, deviation = _closest_rotation(path, (matrix / spacing).flat)
    origin = np.array([-1, -1, 1]) * affine[:3, 3]
    grid = Grid(
        tuple(shape),
        tuple(float(value) for value in spacing[::-1]),
        tuple(float(value) for value in origin),
        direction,
    )
    return grid, _deviates(deviation)


def _closest_rotation(path: Path, cosines: Iterable[float]) -> tuple[tuple[float, ...], float]:
    """Return the rotation, or rotation and flip, next to direction cosines, and their difference.

    Raises
    ------
    ValueError
        If the axes are further off right angles than rounding explains.
    """
    cosines = np.array([*cosines])
    size = math.isqrt(cosines.size)
    left, _, right = np.linalg.svd(cosines.reshape(size, size))
    rotation = (left @ right).ravel()
    deviation = float(np.abs(rotation - cosines).max())
    if deviation > ORTHONORMAL_TOLERANCE:
        raise ValueError(
            f"{path}: the axes are not at right angles ({_deviates(deviation)}, allowed: "
            f"{ORTHONORMAL_TOLERANCE:g})"
        )
    return tuple(rotation.tolist()), deviation


def _deviates(deviation: float) -> str:
    return f"direction cosines differ from a rotation by {deviation:.3g}"


def _read_array(path: Path) -> np.ndarray:
    """Read an array of shape (row, column, slice) or (row, column) as (z, y, x)."""
    try:
        with path.open("rb") as file:  # np.load would take archives, too, and speak of pickles
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as an array ({error})") from None
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"{path}: needs 2 or 3 axes that are not empty, found {array.shape}")
    array = np.ascontiguousarray(array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0))
    return _as_numbers(path, array)


def _as_numbers(path: Path, array: np.ndarray) -> np.ndarray:
    """Return an array in a data type that can be written as NIfTI, and is not larger than need be.

    Raises
    ------
    ValueError
        If its values are no real numbers.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: its values are {array.dtype}; only real numbers are allowed")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    narrow = array.dtype.kind != "f" or array.dtype.itemsize == 4
    return array if narrow else array.astype(np.float32)


def _check_compressed(path: Path) -> None:
    """Check the compressed part of MetaImage and NRRD, of which SimpleITK ignores the checksum."""
    content = path.read_bytes()
    try:
        if suffix(path) == ".mha":
            header, *data = re.split(rb"ElementDataFile *= *LOCAL\r?\n", content, maxsplit=1)
            if re.search(rb"(?im)^CompressedData *= *True\s*$", header) and data:
                isal_zlib.decompress(data[0])
        elif suffix(path) == ".nrrd":
            header, *data = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
            if re.search(rb"(?im)^encoding: *gz(ip)?\s*$", header) and data:
                igzip.decompress(data[0])
    except (OSError, EOFError, zlib.error, isal_zlib.error) as error:
        raise ValueError(f"{path}: cannot be read (damaged compressed data: {error})") from None


def _grid(shape: tuple[int, ...], reading: dict) -> Grid:
    """Return the grid of a format that knows none: the data set's spacing, at the origin."""
    flat = shape[0] == 1
    spacing = tuple(float(value) for value in reading.get("spacing_mm", UNIT_SPACING))
    size = 2 if flat else 3
    direction = tuple(float(value) for value in np.eye(size).flat)
    return Grid(tuple(shape), (1.0, *spacing[1:]) if flat else spacing, (0.0,) * size, direction)
