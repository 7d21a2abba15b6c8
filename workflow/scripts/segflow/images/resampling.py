"""Images on the grid of another."""

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from segflow.images.nifti import Grid, to_sitk
from segflow.images.raw_files import Volume


def resample(volume: Volume, grid: Grid) -> Volume:
    """Return an image on another grid, by linear interpolation.

    Parameters
    ----------
    volume : Volume
        The image.
    grid : Grid
        Where to; of the same dimension.

    Returns
    -------
    Volume
        Of float32. What lies outside of the image gets its smallest value.

    Raises
    ------
    ValueError
        If one is 2D and the other 3D.
    """
    if len(grid.origin_mm) != len(volume.grid.origin_mm):
        raise ValueError("a 2D and a 3D image cannot be brought to one grid")
    reference = to_sitk(np.zeros(grid.shape, np.uint8), grid)
    channels = []
    for channel in volume.array.astype(np.float32):
        image = to_sitk(channel, volume.grid)
        fill = float(channel.min())
        resampled = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, fill)
        channels.append(sitk.GetArrayFromImage(resampled).reshape(grid.shape))
    return replace(volume, array=np.stack(channels), grid=grid)
