"""Pictures (PNG, JPEG, BMP, TIFF) as grey or colour arrays of the values that the file holds.

Pillow decodes every file, because it refuses what is cut short. It reduces colours of 16 bits to
8, though, so these come from SimpleITK or tifffile once Pillow has accepted the file.
"""

import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, UnidentifiedImageError
from tifffile import TiffFile

from segflow.files.suffixes import PICTURES, suffix

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
MODES = ("grey", "rgb")
_BLENDED = "alpha blended over black"
_ORIENTATION = 274  # number of the tag in EXIF and TIFF
_BITS = 258  # of each sample in TIFF
_SAMPLE_FORMAT = 339  # in TIFF: 1 is unsigned


def read_picture(path: Path, mode: str) -> tuple[np.ndarray, list[str]]:
    """Read a picture as grey or as red, green and blue.

    Colours become grey by the luma of ITU-R BT.601 [1]_, 0.299 R + 0.587 G + 0.114 B, rounded;
    where all colours are grey, their value is kept. Grey becomes three equal channels. What is
    transparent is blended over black. Fewer than 8 bits are spread over 0..255, as viewers do:
    white is 255 in a picture of 1 bit. The turn that EXIF asks for is carried out. Colour
    profiles are ignored.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, BMP or TIFF file. The pages of a TIFF file are slices.
    mode : {'grey', 'rgb'}
        Whether one channel is wanted, or three.

    Returns
    -------
    array : ndarray
        Of shape (channel, z, y, x), with z = 1 for all but TIFF files of several pages. The data
        type is uint8, or uint16 where the file holds 16 bits; grey TIFF files of other types keep
        theirs.
    changes : list of str
        What was done that changed values or turned the picture.

    Raises
    ------
    ValueError
        With the file's name, if it is damaged, cut short, too large to be trusted (as Pillow
        sees it), of another format than its suffix says, or of a kind that has no clear meaning.

    References
    ----------
    .. [1] Recommendation ITU-R BT.601-7, 2011. https://www.itu.int/rec/R-REC-BT.601
    """
    if mode not in MODES:
        raise ValueError(f"{path}: read as {mode!r} (allowed: {', '.join(MODES)})")
    array, changes = _read(path, _shown)
    if mode == "grey" and array.shape[-1] == 3:
        array, changed = _grey(array)
        changes += ["colour became grey"] * changed
    elif mode == "rgb" and array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.ascontiguousarray(np.moveaxis(array, -1, 0)), changes


def read_mask(path: Path) -> np.ndarray:
    """Read the values of a mask that is stored as a picture.

    A picture with a palette gives its indices, unless the whole palette is grey: then it shows
    grey values like any other. As in `read_picture`, white is 255 in a picture of 1 bit.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, BMP or TIFF file. The pages of a TIFF file are slices.

    Returns
    -------
    ndarray
        Of shape (z, y, x); see `read_picture`.

    Raises
    ------
    ValueError
        As in `read_picture`, and if pixels have colours or are partly transparent.
    """
    array, changes = _read(path, _indexed)
    if _BLENDED in changes:
        raise ValueError(f"{path}: a mask has opaque pixels only, found transparent ones")
    grey, changed = _grey(array)
    if changed:
        raise ValueError(
            f"{path}: a mask is grey, black and white or has a palette, found colours without one"
        )
    return np.ascontiguousarray(grey[..., 0])


def read_coloured_mask(path: Path, labels: Mapping[str, int]) -> np.ndarray:
    """Read a mask whose colours stand for labels.

    Parameters
    ----------
    path : Path
        See `read_mask`.
    labels : mapping of str to int
        Label by colour, as ``#rrggbb``. Black is 0 unless it is named.

    Returns
    -------
    ndarray of int64
        Of shape (z, y, x).

    Raises
    ------
    ValueError
        As in `read_picture`, and if pixels have other colours.
    """
    array, _ = read_picture(path, "rgb")
    if array.dtype != np.uint8:
        raise ValueError(f"{path}: colours of labels have 8 bits, found {array.dtype}")
    codes = (array.astype(np.int64) * np.reshape([1 << 16, 1 << 8, 1], (3, 1, 1, 1))).sum(axis=0)
    known = {0: 0} | {int(colour[1:], 16): label for colour, label in labels.items()}
    found, places = np.unique(codes, return_inverse=True)
    if strange := [f"#{code:06x}" for code in found.tolist() if code not in known]:
        allowed = ", ".join(f"#{code:06x}" for code in sorted(known))
        shown = ", ".join(strange[:5])
        raise ValueError(f"{path}: colours {shown} are not in label_colours (allowed: {allowed})")
    return np.array([known[code] for code in found.tolist()])[places].reshape(codes.shape)


def _read(path: Path, samples: Callable[[Image.Image], np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return the pages as (z, y, x, sample) with 1 or 3 samples, and what was changed.

    `samples` says how a page of at most 8 bits becomes an array.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read_pages(path, samples)
    except FileNotFoundError:
        raise
    except Exception as error:  # damage makes the decoders fail in any way
        raise ValueError(f"{path}: cannot be read ({_reason(path, error)})") from None


def _reason(path: Path, error: Exception) -> str:
    if not path.stat().st_size:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture, of an unknown kind, or its header is damaged"
    if isinstance(error, struct.error):
        return "it is cut short"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels; smaller pictures are allowed"
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _read_pages(
    path: Path, samples: Callable[[Image.Image], np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    expected = _FORMATS.get(suffix(path))
    if expected is None:
        raise ValueError(f"suffixes of pictures are {', '.join(PICTURES)}")
    pages, changes = [], []
    with Image.open(path, formats=sorted(set(_FORMATS.values()))) as image:
        # MPO is a JPEG followed by previews, as some cameras write it.
        if image.format.replace("MPO", "JPEG") != expected:
            raise ValueError(f"the content is {image.format}, unlike the suffix")
        for index in range(_count_pages(path, image)):
            image.seek(index)
            page, found = _read_page(path, image, index, samples)
            pages.append(page)
            changes += [change for change in found if change not in changes]
    kinds = {(page.shape, page.dtype.name) for page in pages}
    if len(kinds) > 1:
        raise ValueError("its pages differ in size or kind; pages must be slices of one image")
    return np.stack(pages), changes


def _count_pages(path: Path, image: Image.Image) -> int:
    """Return how many slices the file has."""
    if image.format == "TIFF":
        return _count_slices(path)
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":
        raise ValueError(f"it is a film of {count} pictures; one is allowed")
    return 1


def _count_slices(path: Path) -> int:
    """Return how many pages a TIFF file has, all of which must be there and be slices.

    Libraries take the end of a file for the end of its list of pages.
    """
    with TiffFile(path) as file:
        size = path.stat().st_size
        count = _count_directories(file)
        ends = [
            start + length
            for page in file.pages
            for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
        if len(file.pages) != count or not ends or max(ends) > size:
            raise ValueError("it is cut short")
        # Microscopes write time points and channels as pages, too.
        axes = [series.axes for series in file.series]
        stacked = "".join(axes).translate({ord(axis): None for axis in "YXS"})
        if len(axes) > 1 or len(stacked) > 1 or stacked not in "ZIQ":
            raise ValueError(f"its axes are {', '.join(axes)}; one stack of slices is allowed")
        if stacked and file.series[0].shape[axes[0].index(stacked)] != count:
            raise ValueError("its slices are not stored as pages")
        return count


def _count_directories(file: TiffFile) -> int:
    """Return how many pages a TIFF file lists.

    The list is a chain: the tags of a page are followed by the place of the next page's tags.
    """
    tiff = file.tiff

    def number(place: int, code: str) -> int:
        file.filehandle.seek(place)
        return struct.unpack(code, file.filehandle.read(struct.calcsize(code)))[0]

    places = [number(8 if tiff.is_bigtiff else 4, tiff.offsetformat)]
    while places[-1]:
        tags = places[-1] + tiff.tagnosize
        following = tags + tiff.tagsize * number(places[-1], tiff.tagnoformat)
        places.append(number(following, tiff.offsetformat))
        if places[-1] in places[:-1]:
            raise ValueError("its list of pages has no end")
    return len(places) - 1


def _read_page(
    path: Path, image: Image.Image, index: int, samples: Callable[[Image.Image], np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Return one page as (y, x, sample) with 1 or 3 samples, upright, and what was changed."""
    is_tiff = image.format == "TIFF"
    orientation = (image.tag_v2 if is_tiff else image.getexif()).get(_ORIENTATION, 1)
    depth = _depth(path, image)
    signed = is_tiff and set(image.tag_v2.get(_SAMPLE_FORMAT, (1,))) != {1}
    image.load()
    changes = []
    if is_tiff and (depth > 8 or signed):
        array = _upright(_tiff_page(path, index), orientation)
    elif depth > 8 and image.mode != "I;16":
        array = _upright(_deep_png(path), orientation)
    else:
        array = samples(image)
        if image.mode == "CMYK":
            changes.append("CMYK became RGB")
        if not is_tiff:  # Pillow turns TIFF pages by itself
            array = _upright(array, orientation)
    if orientation in range(2, 9):
        changes.append("turned upright as EXIF asks")
    if array.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(f"it has {array.shape[-1]} channels; 1 to 4 are allowed")
    if array.shape[-1] > 1 and array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its colours are {array.dtype}; uint8 and uint16 are allowed")
    key = None if image.mode == "P" else image.info.get("transparency")
    if key is not None and array.shape[-1] in (1, 3):
        # The key has the bits of the file, which Pillow has spread over 8 if there are fewer;
        # it did so for the key of 1 bit.
        scale = 255 // (2**depth - 1) if 1 < depth < 8 else 1
        full = np.iinfo(array.dtype).max
        opaque = (array != np.multiply(key, scale)).any(axis=-1, keepdims=True)
        array = np.concatenate([array, np.where(opaque, full, 0).astype(array.dtype)], axis=-1)
    array, blended = _over_black(array)
    return array, changes + [_BLENDED] * blended


def _depth(path: Path, image: Image.Image) -> int:
    """Return the bits of each sample, which Pillow's modes do not tell."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS, (1,)))
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # signature, length, "IHDR", width, height, depth
    return 8


def _shown(image: Image.Image) -> np.ndarray:
    """Return the grey values or colours of a page as (y, x, sample)."""
    if image.mode in ("P", "PA"):
        clear = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if clear else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("CMYK", "YCbCr", "RGBX"):
        image = image.convert("RGB")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
        raise ValueError(f"it is of the kind {image.mode}, which has no clear meaning")
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array


def _indexed(image: Image.Image) -> np.ndarray:
    """Return the indices of a page with a coloured palette, else what it shows."""
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        if (palette != palette[:, :1]).any():
            return np.array(image)[..., None]
    return _shown(image)


def _deep_png(path: Path) -> np.ndarray:
    """Return the colours of a PNG file of 16 bits as (y, x, sample)."""
    with path.open("rb") as file:
        colour_type = file.read(26)[25]
    if colour_type == 4:
        raise ValueError("16 bits of grey with transparency; store it without")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _tiff_page(path: Path, index: int) -> np.ndarray:
    """Return a page of a TIFF file that Pillow would change as (y, x, sample)."""
    with TiffFile(path) as file:
        page = file.pages[index]
        if any(extra.name != "UNASSALPHA" for extra in page.extrasamples):
            raise ValueError("its further channels are no plain alpha")
        if page.photometric.name not in ("MINISBLACK", "RGB"):
            kind = page.photometric.name
            raise ValueError(f"it is {kind} of more than 8 bits; MINISBLACK and RGB are allowed")
        array = page.asarray()
        if page.axes == "SYX":
            return np.moveaxis(array, 0, -1)
        return array[..., None] if page.axes == "YX" else array


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array of shape (y, x, sample) as its EXIF orientation asks."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _over_black(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Blend what is transparent over black, and say whether that changed a value."""
    if array.shape[-1] in (1, 3):
        return array, False
    full = int(np.iinfo(array.dtype).max)
    colour, alpha = array[..., :-1], array[..., -1:]
    blended = (colour.astype(np.uint32) * alpha + full // 2) // full
    return blended.astype(array.dtype), bool((blended != colour).any())


def _grey(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the luma of the last axis with one sample, and whether there was colour."""
    if array.shape[-1] == 1 or (array == array[..., :1]).all():
        return array[..., :1], False
    luma = (array.astype(np.uint32) @ np.array([299, 587, 114], np.uint32) + 500) // 1000
    return luma[..., None].astype(array.dtype), True
