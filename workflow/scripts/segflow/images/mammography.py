"""Preparation of mammograms: from the pixels of the file to a cropped, oriented, scaled breast.

Six steps, each of which can be switched off (`Chain`): polarity, breast mask, crop, orientation,
tones, z-score. The reference follows those that move pixels.

The breast mask takes everything that is brighter than the air around it. A mixture of three
Gaussians (air, fat, dense tissue) describes the histogram, and a Gaussian of mean mu, standard
deviation sigma and height A has fallen to a level of 0.05 at ::

    x_th = mu +/- sqrt(2 sigma^2 (ln A - ln 0.05))

The formula that is in use for this, ``mu_tissue + sqrt(sigma_tissue^2 (ln A - ln 0.05))``, is the
same for the width w = sqrt(2) sigma of curves that are written A exp(-((x - mu) / w)^2). Taken
at its word it lies above the mean of the tissue, so that most of the breast is lost: the sign
fits images in which tissue is darker than air. With bright tissue it is either the lower end of
the tissue's curve or the upper end of the air's. The end of the air is used here: air is one
narrow peak, found in each image with at least some air, whereas tissue is broad and of several
parts, and its lower end cuts the thin, dark rim under the skin or falls below the air. A is 1, the
height of the air's own peak, so that the threshold does not depend on how many pixels are counted,
on the width of bins or on how large the breast is: it is 2.45 standard deviations above the air.
"""

from dataclasses import dataclass, field

import cc3d
import numpy as np
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from skimage.filters import threshold_otsu

POLARITIES = ("MONOCHROME1", "MONOCHROME2", "")
LATERALITIES = ("L", "R", "")
# Erosion grows each dark pixel inside the breast to a hole: noise is smoothed away before, over a
# distance that is short against the erosion.
SMOOTHING = 0.02  # standard deviation, in erosions
MAX_SAMPLES = 100_000  # pixels to which the mixture is fitted
BRIGHTEST_PERCENT = 99.9  # above are burnt-in labels
N_BINS = 256
# Where the fit starts: standard deviations of air and tissue, in the range of the image.
AIR_WIDTH, TISSUE_WIDTH = 0.02, 0.15
WITHOUT_AIR = "reading.mammography.breast_mask: false takes images without air as they are"
MIN_VARIANCE = 1e-6  # of a Gaussian in the mixture, for air that is one value


@dataclass(frozen=True)
class Chain:
    """The steps and their parameters.

    Parameters
    ----------
    polarity : bool
        Whether MONOCHROME1 images are inverted, so that tissue is bright.
    breast_mask : bool
        Whether the breast is found, and everything outside it set to its darkest value. Otherwise
        the whole image counts as breast.
    iterations : int
        Erosions, and dilations, with which labels and specks are taken off the breast.
    level : float
        Height at which the peak of the air ends, 0 to 1.
    crop : bool
        Whether the image is cropped to the breast.
    margin_px : int
        Pixels that stay around it.
    orientation : bool
        Whether right breasts are flipped to look like left ones, with the chest at the left.
    tones : bool
        Whether the breast's values are mapped to 0 to 1.
    low_percent, high_percent : float
        How many of the breast's pixels become 0, and how many 1, at least.
    zscore : bool
        Whether the breast's mean is subtracted and its standard deviation divided by.
    epsilon : float
        What is added to the standard deviation.
    """

    polarity: bool = True
    breast_mask: bool = True
    iterations: int = 100
    level: float = 0.05
    crop: bool = True
    margin_px: int = 50
    orientation: bool = True
    tones: bool = True
    low_percent: float = 2.0
    high_percent: float = 1.0
    zscore: bool = True
    epsilon: float = 1e-6


STANDARD = Chain()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared mammogram.

    Parameters
    ----------
    image : ndarray of float32
        Of shape (y, x).
    mask : ndarray or None
        The reference, as the image.
    breast : ndarray of bool
        Where the breast is, as the image.
    box : tuple of slice
        Rows and columns of the original that were kept.
    flipped : bool
        Whether the columns were reversed after that.
    laterality : {'L', 'R'}
        Which breast it is.
    seen : {'L', 'R'}
        Which it is by the side of the picture where the breast lies; another than `laterality`
        where the image was mirrored before or the given laterality is wrong.
    uncovered : int
        Pixels of the reference outside the breast, where a breast mask has blanked the image.
    steps : dict of str to ndarray
        The image after each step that was taken, and ``original``, if asked for.
    """

    image: np.ndarray
    mask: np.ndarray | None
    breast: np.ndarray
    box: tuple[slice, slice]
    flipped: bool
    laterality: str
    seen: str
    uncovered: int
    steps: dict[str, np.ndarray] = field(default_factory=dict)


def prepare(
    image: np.ndarray,
    mask: np.ndarray | None,
    chain: Chain = STANDARD,
    photometric: str = "",
    laterality: str = "",
    keep_steps: bool = False,
) -> Prepared:
    """Apply the chain to a mammogram and its reference.

    Parameters
    ----------
    image : ndarray
        Pixels as stored in the file, of shape (y, x).
    mask : ndarray or None
        The reference, of the same shape, 0 where there is no lesion.
    chain : Chain
        Steps and parameters.
    photometric : {'MONOCHROME1', 'MONOCHROME2', ''}
        The DICOM value; without one, tissue is taken to be bright.
    laterality : {'L', 'R', ''}
        Which breast is shown; without one, that of the side where the breast lies.
    keep_steps : bool
        Whether the image after each step is returned as well.

    Raises
    ------
    ValueError
        If no breast is found, the crop would cut off a part of the reference, or an argument is
        none of those allowed.
    """
    if image.ndim != 2 or (mask is not None and mask.shape != image.shape):
        shapes = f"{image.shape}" + ("" if mask is None else f" and {mask.shape}")
        raise ValueError(f"image and reference have one shape (y, x), found {shapes}")
    if laterality not in LATERALITIES:
        raise ValueError(f"laterality {laterality!r} is neither L, R nor empty")
    image = image.astype(np.float32)
    steps = {"original": image}
    if chain.polarity:
        image = steps["polarity"] = make_tissue_bright(image, photometric)
    breast = np.ones(image.shape, bool)
    if chain.breast_mask:
        breast = find_breast(image, chain.iterations, chain.level)
        image = np.where(breast, image, image[breast].min())
        steps["breast_mask"] = image
    seen = infer_laterality(image)
    uncovered = 0 if mask is None else int(np.count_nonzero(mask[~breast]))
    box = tuple(slice(0, size) for size in image.shape)
    if chain.crop:
        box = breast_box(breast, chain.margin_px)
        if mask is not None and (lost := np.count_nonzero(mask) - np.count_nonzero(mask[box])):
            raise ValueError(
                f"the crop to the breast, {_words(box)}, would cut off {lost} of "
                f"{np.count_nonzero(mask)} pixels of the reference"
            )
        image, breast = image[box], breast[box]
        mask = None if mask is None else mask[box]
        steps["crop"] = image
    flipped = chain.orientation and (laterality or seen) == "R"
    if flipped:
        image, breast = image[:, ::-1], breast[:, ::-1]
        mask = None if mask is None else mask[:, ::-1]
    if chain.orientation:
        steps["orientation"] = image
    if chain.tones:
        image = scale_tones(image, breast, chain.low_percent, chain.high_percent)
        steps["tones"] = image
    if chain.zscore:
        image = steps["zscore"] = standardise(image, breast, chain.epsilon)
    return Prepared(
        image=np.ascontiguousarray(image),
        mask=None if mask is None else np.ascontiguousarray(mask),
        breast=np.ascontiguousarray(breast),
        box=box,
        flipped=flipped,
        laterality=laterality or seen,
        seen=seen,
        uncovered=uncovered,
        steps=steps if keep_steps else {},
    )


def make_tissue_bright(image: np.ndarray, photometric: str) -> np.ndarray:
    """Return the image with its values in reverse order if it is shown inverted (MONOCHROME1).

    Raises
    ------
    ValueError
        If `photometric` is something else than MONOCHROME1, MONOCHROME2 or empty.
    """
    if photometric not in POLARITIES:
        raise ValueError(
            f"a mammogram is MONOCHROME1 or MONOCHROME2, found photometric interpretation "
            f"{photometric!r}"
        )
    return image.max() + image.min() - image if photometric == "MONOCHROME1" else image


def find_breast(image: np.ndarray, iterations: int = 100, level: float = 0.05) -> np.ndarray:
    """Return where the breast is, without labels.

    What is brighter than air (see `air_threshold`), without holes, is eroded; of the rest the
    largest component is closed and dilated. What lies beyond the border of the image counts as
    breast for erosions, so that the chest side stays, and as air for dilations. Erosions and
    dilations are those by a cross of 3 x 3 pixels, `iterations` times: thresholds of city-block
    distances, which give the same pixels in a fraction of the time.

    Parameters
    ----------
    image : ndarray
        Of shape (y, x), tissue bright.
    iterations : int
        How often each erosion and dilation is done; 0 leaves the largest component.
    level : float
        See `air_threshold`.

    Returns
    -------
    ndarray of bool
        Of the same shape.

    Raises
    ------
    ValueError
        If nothing remains.
    """
    smooth = gaussian_filter(np.asarray(image, np.float32), SMOOTHING * iterations)
    bright = _without_holes(smooth > air_threshold(smooth, level))
    core = cc3d.largest_k(_erode(bright, iterations), k=1, connectivity=8) > 0
    if not core.any():
        raise ValueError(
            f"no breast is found: nothing brighter than air is wider than {2 * iterations} pixels; "
            f"{WITHOUT_AIR}"
        )
    # For the closing the breast goes on beyond the border, so that the dilation has the room.
    wide = np.pad(core, iterations, mode="edge")
    closed = _erode(_dilate(wide, iterations), iterations)
    inner = tuple(slice(iterations, iterations + size) for size in core.shape)
    return _dilate(closed[inner], iterations)


def air_threshold(image: np.ndarray, level: float = 0.05) -> float:
    """Return the value up to which pixels are air (see the head of this module).

    Air is the Gaussian that starts at the highest peak of the histogram below the threshold of
    Otsu.

    Parameters
    ----------
    image : ndarray
        Tissue bright, with some air.
    level : float
        Height at which the air's peak ends, relative to its top.

    Raises
    ------
    ValueError
        If the image has one value only, or `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level!r} is not between 0 and 1")
    values = image.ravel()[:: max(1, image.size // MAX_SAMPLES)].astype(np.float64)
    low, high = values.min(), np.percentile(values, BRIGHTEST_PERCENT)
    if high <= low:
        text = f"(nearly) all pixels have the value {low:g}; {WITHOUT_AIR}"
        raise ValueError(f"no breast is found: {text}")
    values = np.clip((values - low) / (high - low), 0, 1)
    split = threshold_otsu(values, N_BINS)
    heights, edges = np.histogram(values[values <= split], N_BINS, (0, 1))
    tissue = np.percentile(values[values > split], [25, 75])
    widths = np.array([AIR_WIDTH, TISSUE_WIDTH, TISSUE_WIDTH])
    from sklearn.mixture import GaussianMixture  # takes two seconds

    mixture = GaussianMixture(
        n_components=3,
        weights_init=[0.4, 0.3, 0.3],
        means_init=np.array([edges[heights.argmax()], *tissue])[:, None],
        precisions_init=(1 / widths**2)[:, None, None],
        reg_covar=MIN_VARIANCE,
        max_iter=200,
        random_state=0,
    ).fit(values[:, None])
    mean, variance = mixture.means_[0, 0], mixture.covariances_[0, 0, 0]
    return float(low + (high - low) * (mean + np.sqrt(-2 * variance * np.log(level))))


def breast_box(breast: np.ndarray, margin_px: int = 50) -> tuple[slice, slice]:
    """Return the rows and columns of the breast with a margin, within the image."""
    spans = [np.flatnonzero(breast.any(axis=axis)) for axis in (1, 0)]
    return tuple(
        slice(max(0, int(span[0]) - margin_px), min(size, int(span[-1]) + 1 + margin_px))
        for span, size in zip(spans, breast.shape, strict=True)
    )


def infer_laterality(image: np.ndarray) -> str:
    """Return ``L`` if the left half of the image is the brighter one, else ``R``.

    A left breast hangs from the left border of a mammogram in its usual orientation.
    """
    half = image.shape[1] // 2
    return "L" if image[:, :half].mean() >= image[:, -half:].mean() else "R"


def scale_tones(
    image: np.ndarray, breast: np.ndarray, low_percent: float = 2.0, high_percent: float = 1.0
) -> np.ndarray:
    """Map values linearly, so that the breast's darkest pixels are 0 and its brightest ones 1.

    Parameters
    ----------
    image, breast : ndarray
        Of shape (y, x).
    low_percent, high_percent : float
        How many pixels of the breast become 0 and 1. All values are clipped to this range.

    Raises
    ------
    ValueError
        If there is nothing between the two.
    """
    low, high = np.percentile(image[breast], [low_percent, 100 - high_percent])
    if high <= low:
        raise ValueError(f"the tones of the breast cannot be scaled: all are {low:g}")
    return np.clip((image - np.float32(low)) / np.float32(high - low), 0, 1)


def standardise(image: np.ndarray, breast: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """Subtract the mean of the breast's pixels, and divide by their standard deviation.

    Parameters
    ----------
    image, breast : ndarray
        Of shape (y, x).
    epsilon : float
        What is added to the standard deviation.
    """
    values = image[breast].astype(np.float64)
    return (image - np.float32(values.mean())) / np.float32(values.std() + epsilon)


def _erode(mask: np.ndarray, iterations: int) -> np.ndarray:
    if mask.all():  # from where there is no distance to the outside
        return mask
    return distance_transform_cdt(mask, "taxicab") > iterations


def _dilate(mask: np.ndarray, iterations: int) -> np.ndarray:
    return ~_erode(~mask, iterations)


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """Return a mask with the holes filled that do not reach the border of the image."""
    holes = cc3d.connected_components(~mask, connectivity=4)
    border = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    outside = np.zeros(holes.max() + 1, bool)
    outside[border] = True
    outside[0] = False
    return ~outside[holes]


def _words(box: tuple[slice, slice]) -> str:
    rows, columns = box
    return f"rows {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop}"
