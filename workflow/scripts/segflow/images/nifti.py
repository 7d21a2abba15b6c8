"""Reading and writing of images and label maps with their grids.

Arrays are in the order of SimpleITK and of nnU-Net: (z, y, x) for one channel. A 2D image has
z = 1.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import igzip, isal_zlib

from segflow.files.content import replacing
from segflow.files.late_imports import without_pydicom
from segflow.files.suffixes import suffix

with without_pydicom():
    import nibabel
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

SUFFIX = ".nii.gz"  # of everything that is written
# Headers that agree to this degree describe the same grid, written by different programs.
SPACING_TOLERANCE = 1e-3  # relative
ORIGIN_TOLERANCE = 1e-2  # of a voxel
DIRECTION_TOLERANCE = 1e-3  # of a direction cosine
COMPRESSION = 3  # of isal_zlib, 0 to 3
GZIP = 31  # the window bits by which isal_zlib writes a gzip file
GZIP_MAGIC = b"\x1f\x8b"
_READERS = {".mha": "MetaImageIO", ".mhd": "MetaImageIO"}  # that know lower-case suffixes only
NIFTI_HEADER = 348  # bytes of the header itself
NIFTI_OFFSET = 352  # bytes before the voxels


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie in space.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    spacing_mm : tuple of float
        Distance of neighbouring voxels along (z, y, x).
    origin_mm : tuple of float
        Position of the first voxel, as (x, y, z).
    direction : tuple of float
        Direction cosines, row by row: 9 numbers, or 4 of a 2D image.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]


def read_image(path: Path) -> tuple[np.ndarray, Grid]:
    """Read an image of one or more channels.

    Parameters
    ----------
    path : Path
        A 2D or 3D image, or a 4D image whose last axis holds the channels.

    Returns
    -------
    array : ndarray
        Of shape (channel, z, y, x) and the file's data type.
    grid : Grid
        Where the voxels lie.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    try:
        image = sitk.ReadImage(str(path), imageIO=_READERS.get(suffix(path), ""))
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be read ({_reason(error)})") from None
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    elif image.GetDimension() < 4:
        array = array[None]
    if image.GetDimension() == 2:
        array = array[:, None]
    return array, _grid(image, array.shape[1:])


def read_labels(path: Path) -> tuple[np.ndarray, Grid]:
    """Read a label map; see `read_image`. The array has the shape (z, y, x).

    Raises
    ------
    ValueError
        If the file cannot be read or has several channels. A compressed NIfTI file that is
        truncated or fails its checksum is refused.
    """
    if suffix(path) == SUFFIX and path.exists():
        array = _read_voxels(path)
        if array is not None:
            return array, read_grid(path)
    array, grid = read_image(path)
    if len(array) != 1:
        raise ValueError(f"{path}: a label map has one channel, found {len(array)}")
    return array[0], grid


def _read_voxels(path: Path) -> np.ndarray | None:
    """Return the integers of a compressed NIfTI file of 2 or 3 axes; None if it is another file.

    SimpleITK returns what it could read of a damaged gzip file; here the checksum counts.
    """
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            return None
    try:
        with igzip.open(path) as file:
            try:
                header = nibabel.Nifti1Header(file.read(NIFTI_HEADER), check=False)
                dtype, shape = header.get_data_dtype(), header.get_data_shape()[::-1]
                offset = int(header["vox_offset"])
            except (WrapStructError, HeaderDataError):
                return None
            scaling = float(header["scl_slope"]), float(header["scl_inter"])
            plain = dtype.kind in "iu" and len(shape) in (2, 3) and scaling in ((0, 0), (1, 0))
            if header["magic"] != b"n+1" or not plain or offset < NIFTI_OFFSET:
                return None
            file.read(offset - NIFTI_HEADER)
            array = np.empty((1, *shape)[-3:], dtype)
            n_bytes = file.readinto(array.reshape(-1).view(np.uint8))
            file.read()  # to the checksum
    except (OSError, EOFError, zlib.error, isal_zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    if n_bytes != array.nbytes:
        raise ValueError(
            f"{path}: cannot be read ({n_bytes} bytes of voxels, its header says {array.nbytes})"
        )
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_grid(path: Path) -> Grid:
    """Read the grid of an image from its header alone.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be read ({_reason(error)})") from None
    return _grid(reader, tuple(reader.GetSize()[:3])[::-1])


def write_image(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write one channel or a label map, atomically.

    Parameters
    ----------
    path : Path
        The file; its suffix decides the format.
    array : ndarray
        Of shape (z, y, x).
    grid : Grid
        Where the voxels lie.

    Raises
    ------
    ValueError
        If array and grid differ in shape.
    """
    if array.shape != tuple(grid.shape):
        raise ValueError(f"{path}: array of shape {array.shape} on a grid of {grid.shape}")
    with replacing(path) as temporary:
        if path.name.endswith(SUFFIX):
            voxels = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            temporary.write_bytes(_gzip(_nifti_header(voxels.dtype, grid), voxels))
        else:
            sitk.WriteImage(to_sitk(array, grid), str(temporary), useCompression=True)


def _gzip(*parts: bytes | np.ndarray) -> bytes:
    """Return gzip of all parts without names and times; many times faster than zlib's."""
    gzip = isal_zlib.compressobj(COMPRESSION, wbits=GZIP)
    return b"".join([*map(gzip.compress, parts), gzip.flush()])


def _nifti_header(dtype: np.dtype, grid: Grid) -> bytes:
    """Return a NIfTI header that SimpleITK reads as `grid`, and that says nothing else."""
    size = len(grid.origin_mm)
    affine = np.eye(4)
    direction = np.reshape(grid.direction, (size, size))
    affine[:size, :size] = direction * grid.spacing_mm[: -size - 1 : -1]
    affine[:size, 3] = grid.origin_mm
    affine[:2] *= -1  # from left-posterior-superior to right-anterior-superior
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(grid.shape[: -size - 1 : -1])
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header["pixdim"][1 : size + 1] = grid.spacing_mm[: -size - 1 : -1]
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = NIFTI_OFFSET
    return header.binaryblock.ljust(NIFTI_OFFSET, b"\0")


def to_sitk(array: np.ndarray, grid: Grid) -> sitk.Image:
    """Return one channel, of shape (z, y, x), as an image of SimpleITK."""
    flat = len(grid.origin_mm) == 2
    image = sitk.GetImageFromArray(array[0] if flat else array)
    image.SetSpacing(grid.spacing_mm[:0:-1] if flat else grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def describe_difference(one: Grid, other: Grid) -> tuple[str, str]:
    """Say in what two grids differ.

    A 2D grid is compared with one slice of a 3D image in what both have.

    Returns
    -------
    mismatch : str
        Properties that describe another place, with both values; empty if there are none.
    rounding : str
        Properties that differ by no more than rounding, or that one of the grids does not have;
        empty if there are none.
    """
    if one.shape != other.shape:
        return f"shape ({_words(one.shape)} against {_words(other.shape)})", ""
    if len(one.origin_mm) != len(other.origin_mm):
        mismatch, rounding = describe_difference(*_in_plane(one, other))
        dimensions = f"dimensions ({len(one.origin_mm)} against {len(other.origin_mm)})"
        return mismatch, ", ".join(filter(None, (dimensions, rounding)))
    tolerances = {
        "spacing_mm": np.multiply(SPACING_TOLERANCE, one.spacing_mm),
        "origin_mm": np.full(len(one.origin_mm), ORIGIN_TOLERANCE * min(one.spacing_mm)),
        "direction": np.full(len(one.direction), DIRECTION_TOLERANCE),
    }
    mismatch, rounding = [], []
    for name, tolerance in tolerances.items():
        mine, theirs = getattr(one, name), getattr(other, name)
        if (np.abs(np.subtract(mine, theirs)) > tolerance).any():
            mismatch.append(f"{name.removesuffix('_mm')} ({_words(mine)} against {_words(theirs)})")
        elif not np.allclose(mine, theirs, rtol=0, atol=1e-6):
            rounding.append(name.removesuffix("_mm"))
    return ", ".join(mismatch), ", ".join(rounding)


def _in_plane(one: Grid, other: Grid) -> tuple[Grid, Grid]:
    """Return a grid of one slice and a 2D grid, both as 2D.

    A slice that is not axial has no place in 2D: both are then put at the origin.
    """
    solid = max(one, other, key=lambda grid: len(grid.origin_mm))
    direction = np.reshape(solid.direction, (3, 3))[:2, :2]
    axial = np.allclose(direction @ direction.T, np.eye(2), rtol=0, atol=DIRECTION_TOLERANCE)

    def flat(grid: Grid) -> Grid:
        place = grid.origin_mm, grid.direction
        if not axial:
            place = (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)
        elif grid is solid:
            place = grid.origin_mm[:2], tuple(float(value) for value in direction.flat)
        return Grid(grid.shape, (1.0, *grid.spacing_mm[1:]), *place)

    return flat(one), flat(other)


def _grid(image: sitk.Image | sitk.ImageFileReader, shape: tuple[int, ...]) -> Grid:
    """Return the spatial part of an image's grid: a fourth axis holds channels."""
    dimension = image.GetDimension()
    spatial = min(dimension, 3)
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:spatial, :spatial]
    spacing = tuple(image.GetSpacing()[:spatial])[::-1]
    return Grid(
        shape=(1,) * (3 - spatial) + tuple(shape)[-spatial:],
        spacing_mm=(1.0,) * (3 - spatial) + spacing,
        origin_mm=tuple(image.GetOrigin()[:spatial]),
        direction=tuple(float(value) for value in direction.flat),
    )


def _reason(error: RuntimeError) -> str:
    """Return the last line of an ITK error, which says what is wrong."""
    return str(error).strip().splitlines()[-1].strip()


def _words(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
