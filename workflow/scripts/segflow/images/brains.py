"""Brains in the space of the MNI152 template: registered, cut out, corrected and scaled.

The template is the ICBM 152 nonlinear symmetric one of 2009 (doi:10.1016/j.neuroimage.2010.07.033),
which nilearn ships without its skull. A head is registered to it by mutual information within the
template's brain and a rim around it, so that the skull need not be removed before; the template's
mask, put in place, is what cuts the brain out.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import SimpleITK as sitk
from nibabel.spatialimages import SpatialImage
from scipy.ndimage import binary_erosion

from segflow.images.nifti import Grid, to_sitk
from segflow.images.orientation import orientation_of

PROCEDURE = 1  # move it when normalised brains would differ
LEVELS_MM = (4.0, 2.0)  # spacings of the registration
BIAS_MM = 6.0  # spacing at which the bias field is looked for
RIM_MM = 6  # around the template's brain, where the registration looks, too
HEAD_MM = 150  # from the vertex down: what is below is neck
# What is begun with: heads are nodded by far, and too large a start takes the scalp for the brain.
PITCHES = (-0.5, -0.25, 0.0, 0.25, 0.5)  # radians about the axis from ear to ear
SCALES = (0.9, 1.0)
BINS = 32
SEED = 1  # of the voxels that are looked at; 0 would be the time of day
BIAS_ITERATIONS = (30, 30, 30)
LEAST_MM = 100  # what a head measures at least along each axis
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # directions, in ITK's LPS
SHEET = (0.35, 0.5, 0.65)  # where along each axis a contact sheet shows a plane
OUTLINE = (255, 60, 60)


@dataclass(frozen=True)
class Template:
    """The template's brain and its mask, images of SimpleITK at 1 mm.

    The levels are those of the registration: the brain, coarser, and where to look.
    """

    image: sitk.Image
    mask: sitk.Image
    levels: tuple[tuple[sitk.Image, sitk.Image], ...]


@dataclass(frozen=True)
class Brain:
    """A brain in template space.

    Parameters
    ----------
    image : ndarray of float32
        Of shape (z, y, x), from 0 to 1; 0 outside the mask.
    mask : ndarray of uint8
        Of shape (z, y, x), 1 in the brain.
    grid : Grid
        That of the template, cut out with a margin; the same for all cases.
    pose : ndarray of float
        Of shape (4, 4): the affine from mm of the template to mm of the scanner, both towards
        right, anterior and superior.
    score : float
        Correlation with the template over its brain, from -1 to 1.
    """

    image: np.ndarray
    mask: np.ndarray
    grid: Grid
    pose: np.ndarray
    score: float


@cache
def load_template() -> Template:
    """Return the template of 1 mm."""
    from nilearn.datasets import load_mni152_template  # takes a second

    image = _from_nifti(load_mni152_template(resolution=1))
    inside = sitk.Cast(image > 0, sitk.sitkUInt8)
    mask = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(inside, [3] * 3))
    levels = []
    for spacing_mm in LEVELS_MM:
        coarser = _coarser(image, spacing_mm)
        near = sitk.Resample(mask, coarser, sitk.Transform(), sitk.sitkNearestNeighbor)
        levels.append((coarser, sitk.BinaryDilate(near, [round(RIM_MM / spacing_mm)] * 3)))
    return Template(image, mask, tuple(levels))


def load_tissue_maps(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return the template's shares of grey and of white matter on a grid in its space.

    Returns
    -------
    tuple of ndarray of float
        Of shape (z, y, x), from 0 to 1.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    maps = []
    for load in (load_mni152_gm_template, load_mni152_wm_template):
        image, target = _from_nifti(load(resolution=1)), to_sitk(np.zeros(grid.shape), grid)
        array = sitk.GetArrayFromImage(sitk.Resample(image, target))
        maps.append(array / sitk.GetArrayViewFromImage(image).max())
    return maps[0], maps[1]


def load_template_on(grid: Grid) -> np.ndarray:
    """Return the template's brain, of shape (z, y, x), on a grid in its space."""
    image = load_template().image
    return sitk.GetArrayFromImage(sitk.Resample(image, to_sitk(np.zeros(grid.shape), grid)))


def place_in_template(grid: Grid, voxel: tuple[int, ...]) -> tuple[float, ...]:
    """Return where a voxel (z, y, x) lies, in mm to right, anterior and superior."""
    steps = np.multiply(voxel, grid.spacing_mm)[::-1]
    x, y, z = grid.origin_mm + np.reshape(grid.direction, (3, 3)) @ steps
    return float(-x), float(-y), float(z)


def normalise_brain(array: np.ndarray, grid: Grid, options: Mapping) -> Brain:
    """Bring the image of a head into template space.

    Parameters
    ----------
    array : ndarray
        T1-weighted image, of shape (z, y, x), in any orientation.
    grid : Grid
        Its grid, in which the head may lie as it does in a scanner.
    options : mapping
        ``spacing_mm`` and ``margin_mm`` of the result, and the percentiles ``low_percent`` (from
        below) and ``high_percent`` (from above) of the brain's values that become 0 and 1.

    Raises
    ------
    ValueError
        If the image is none of a head: too small, of one value, or nowhere like the template.
    """
    check_head(array, grid)
    with _one_thread():
        return _normalise(array, grid, options, load_template())


def _normalise(array: np.ndarray, grid: Grid, options: Mapping, template: Template) -> Brain:
    # Values may be negative and of any scale; registration and bias field want neither.
    values = array.astype(np.float32)
    head = to_sitk(values - values.min(), grid)
    try:
        pose = register(head, template)
        mask = sitk.Resample(template.mask, head, pose.GetInverse(), sitk.sitkNearestNeighbor)
        corrected = correct_bias(head, mask)
    except RuntimeError as error:  # no voxel of the head where the template's brain is
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"cannot be registered to the template ({reason})") from None
    target = cut_grid(template, options["spacing_mm"], options["margin_mm"])
    brain = sitk.Resample(corrected, target, pose, sitk.sitkBSpline)
    inside = sitk.Resample(template.mask, target, sitk.Transform(), sitk.sitkNearestNeighbor)
    kept = sitk.GetArrayFromImage(inside) > 0
    values = sitk.GetArrayFromImage(brain)
    low, high = np.percentile(values[kept], [options["low_percent"], 100 - options["high_percent"]])
    if not low < high:
        raise ValueError("the brain is of one value; a T1-weighted image of a head is needed")
    image = np.where(kept, np.clip((values - low) / (high - low), 0, 1), 0).astype(np.float32)
    model = sitk.GetArrayFromImage(sitk.Resample(template.image, target))
    return Brain(
        image=image,
        mask=kept.astype(np.uint8),
        grid=_grid_of(target),
        pose=_as_matrix(pose),
        score=float(np.corrcoef(image[kept], model[kept])[0, 1]),
    )


def check_head(array: np.ndarray, grid: Grid) -> None:
    """Refuse images that cannot show a head.

    Parameters
    ----------
    array : ndarray
        Of shape (z, y, x).
    grid : Grid
        Its grid.

    Raises
    ------
    ValueError
        If the image is too small, of one value, or no 3D image.
    """
    extent = np.multiply(grid.shape, grid.spacing_mm)
    if not orientation_of(grid) or extent.min() < LEAST_MM:
        shown = " x ".join(f"{value:.0f}" for value in extent)
        raise ValueError(
            f"shows {shown} mm along z, y, x; a head needs {LEAST_MM} mm along each of three axes"
        )
    if array.min() == array.max():
        raise ValueError(f"all voxels are {array.flat[0]:g}; an image of a head is needed")


def register(head: sitk.Image, template: Template) -> sitk.AffineTransform:
    """Return the affine from the template to a head (in LPS mm), by mutual information.

    It begins with similarities of some pitches and scales, of which the best goes on as an affine
    at 4 and 2 mm.
    """
    coarse, fine = template.levels
    moving = [_coarser(head, spacing_mm) for spacing_mm in LEVELS_MM]
    begin, centre = _centre_of_head(moving[0]), _centre_of_mask(template.mask)
    tried = []
    for pitch, scale in product(PITCHES, SCALES):
        start = sitk.Similarity3DTransform()
        start.SetCenter(centre)
        start.SetTranslation(np.subtract(begin, centre).tolist())
        start.SetRotation((1, 0, 0), pitch)
        start.SetScale(scale)
        metric = _optimise(coarse, moving[0], start, 40, 0.2)
        tried.append((metric, start))
    best = min(tried, key=lambda one: one[0])[1]
    pose = sitk.AffineTransform(3)
    pose.SetCenter(centre)
    pose.SetMatrix(best.GetMatrix())
    pose.SetTranslation(best.GetTranslation())
    _optimise(coarse, moving[0], pose, 80, 0.5)
    _optimise(fine, moving[1], pose, 40, 0.15)
    return pose


def correct_bias(head: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Return a head without the bias field that N4 finds in its brain."""
    factors = [max(1, round(BIAS_MM / spacing)) for spacing in head.GetSpacing()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(BIAS_ITERATIONS)
    n4.Execute(sitk.Shrink(head, factors) + 1, sitk.Shrink(mask, factors))
    field = sitk.Cast(n4.GetLogBiasFieldAsImage(head), sitk.sitkFloat32)
    return head / sitk.Exp(field)


def draw_sheet(brain: Brain) -> np.ndarray:
    """Return planes of a brain along three axes, plain and with the template's outlines.

    Returns
    -------
    ndarray of uint8
        A colour picture, of shape (rows, columns, 3).
    """
    model = sitk.Resample(load_template().image, to_sitk(brain.mask, brain.grid))
    tissue = sitk.GetArrayFromImage(sitk.OtsuThreshold(model, 0, 1, 128)) > 0
    outline = (brain.mask > 0) & ~binary_erosion(brain.mask) | tissue & ~binary_erosion(tissue)
    grey = np.round(255 * brain.image).astype(np.uint8)
    rows = []
    for share in SHEET:
        planes = []
        for axis, size in enumerate(grey.shape):
            place = int(share * (size - 1))
            plain = np.repeat(np.take(grey, place, axis)[::-1, :, None], 3, axis=2)
            marked = plain.copy()
            marked[np.take(outline, place, axis)[::-1]] = OUTLINE
            planes += [plain, marked]
        height = max(map(len, planes))
        padded = [np.pad(one, ((0, height - len(one)), (1, 1), (0, 0))) for one in planes]
        rows.append(np.concatenate(padded, axis=1))
    return np.concatenate(rows)


def cut_grid(template: Template, spacing_mm: float, margin_mm: float) -> sitk.Image:
    """Return an empty image around the template's brain, with axes to right, front and top."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Flip(template.mask, (False,) * 3))
    first = np.array(shape.GetBoundingBox(1)[:3])
    last = first + shape.GetBoundingBox(1)[3:] - 1
    ends = [template.mask.TransformIndexToPhysicalPoint(end.tolist()) for end in (first, last)]
    signs = np.array([-1.0, -1.0, 1.0])  # from LPS to RAS
    low = np.multiply(ends[0], signs) - margin_mm
    high = np.multiply(ends[1], signs) + margin_mm
    size = np.ceil((high - low) / spacing_mm).astype(int) + 1
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetSpacing([float(spacing_mm)] * 3)
    grid.SetOrigin((low * signs).tolist())
    grid.SetDirection(RAS)
    return grid


def _from_nifti(found: SpatialImage) -> sitk.Image:
    """Return an image of nilearn, whose axes are those of space, as one of SimpleITK."""
    array = np.ascontiguousarray(found.get_fdata(dtype=np.float32).T)
    affine = found.affine
    origin = (-float(affine[0, 3]), -float(affine[1, 3]), float(affine[2, 3]))
    spacing_mm = tuple(float(affine[axis, axis]) for axis in (2, 1, 0))
    return to_sitk(array, Grid(array.shape, spacing_mm, origin, RAS))


def _coarser(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Return an image smoothed and thinned out to about a spacing."""
    factors = [max(1, round(spacing_mm / spacing)) for spacing in image.GetSpacing()]
    if max(factors) == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, 0.4 * spacing_mm), factors)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let SimpleITK use one thread: sums of several differ in their last digits."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _centre_of_head(head: sitk.Image) -> tuple[float, ...]:
    """Return the centre of what is above the neck, in mm."""
    inside = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.OtsuThreshold(head, 0, 1, 128)))
    places = np.argwhere(sitk.GetArrayFromImage(inside) == 1)[:, ::-1]
    points = (
        head.GetOrigin() + (places * head.GetSpacing()) @ np.reshape(head.GetDirection(), (3, 3)).T
    )
    return tuple(points[points[:, 2] > points[:, 2].max() - HEAD_MM].mean(axis=0).tolist())


def _centre_of_mask(mask: sitk.Image) -> tuple[float, ...]:
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    return shape.GetCentroid(1)


def _optimise(
    fixed: tuple[sitk.Image, sitk.Image],
    moving: sitk.Image,
    transform: sitk.Transform,
    iterations: int,
    share: float,
) -> float:
    """Improve a transform in place, by a share of the voxels to look at; return the metric."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(fixed[1])
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(share, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        1.0, 0.02, iterations, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed[0], moving)
    return method.GetMetricValue()


def _as_matrix(pose: sitk.AffineTransform) -> np.ndarray:
    """Return a transform of points in LPS as a matrix, of shape (4, 4), in RAS."""
    zero = np.array(pose.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(pose.TransformPoint(one)) - zero for one in np.eye(3).tolist()]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.transpose(columns), zero
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ matrix @ flip


def _grid_of(image: sitk.Image) -> Grid:
    return Grid(
        image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection()
    )
