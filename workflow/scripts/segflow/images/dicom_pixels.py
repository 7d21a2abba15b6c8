"""Pixel data of DICOM files: decoded whole or refused, and turned into values."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import RLELossless

from segflow.images.dicom_headers import read_file

_PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def decode_frames(file: Path, count: int) -> list[np.ndarray]:
    """Return the frames of a file, of shape (y, x) or (y, x, colour).

    Parameters
    ----------
    file : Path
        The file.
    count : int
        Frames that it must hold.

    Raises
    ------
    ValueError
        If pixel data are missing, cut short or cannot be decoded.
    """
    dataset = read_file(file)
    if not any(tag in dataset for tag in _PIXEL_DATA):
        raise ValueError(f"{file}: the pixel data are missing or cut short")
    syntax = None
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        get_decoder(syntax)  # raises an error that tells more than those below
        if syntax.is_encapsulated and syntax != RLELossless:
            _check_streams(dataset, count)
        frames = list(iter_pixels(dataset, allow_excess_frames=False))
    except Exception as error:  # decoders fail in any way
        name = getattr(syntax, "name", "of no transfer syntax")
        text = f"pixel data ({name}) cannot be decoded ({error})"
        raise ValueError(f"{file}: {' '.join(text.split())}") from None
    if len(frames) != count:
        raise ValueError(f"{file}: {len(frames)} frames of pixel data, the header says {count}")
    return frames


def _check_streams(dataset: pydicom.Dataset, count: int) -> None:
    """Check that each compressed frame ends as JPEG, JPEG-LS and JPEG 2000 must.

    Decoders of JPEG and JPEG-LS fill up what is missing without a word.
    """
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    streams = generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=offsets)
    for stream in streams:
        if not stream.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
            raise ValueError("a frame has no end, it is cut short")


def rescale(frames: list[np.ndarray], lines: list[tuple[float, float]]) -> np.ndarray:
    """Return stored values times slope plus intercept, of shape (channel, z, y, x).

    Parameters
    ----------
    frames : list of ndarray
        Stored values of each slice, of shape (y, x) or (y, x, colour).
    lines : list of (float, float)
        Slope and intercept of each slice.
    """
    dtype = _value_type(frames, lines)
    exact = np.float64 if dtype == np.float32 else np.int64
    colours = frames[0].shape[2:] or (1,)
    array = np.empty((*colours, len(frames), *frames[0].shape[:2]), dtype)
    for index, (frame, line) in enumerate(zip(frames, lines, strict=True)):
        slope, intercept = np.array(line).astype(exact)
        values = frame.reshape(*frame.shape[:2], *colours).astype(exact) * slope + intercept
        array[:, index] = np.moveaxis(values, -1, 0)
    return array


def _value_type(frames: list[np.ndarray], lines: list[tuple[float, float]]) -> type[np.generic]:
    """Return the data type that holds all values."""
    whole = all(number.is_integer() for line in lines for number in line)
    if not whole or any(frame.dtype.kind == "f" for frame in frames):
        return np.float32
    ends = [
        int(end) * int(slope) + int(intercept)
        for frame, (slope, intercept) in zip(frames, lines, strict=True)
        for end in (frame.min(), frame.max())
    ]
    for dtype in (np.int16, np.uint16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return dtype
    return np.float32
