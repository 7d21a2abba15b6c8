"""Augmentations by name (``config/augmentations``): what their files may ask for.

This module knows no MONAI: an unknown transform or parameter is refused while a configuration is
read. `segflow.models.transforms` makes the transforms, and a test holds this list to MONAI's.
"""

from typing import Any

# Those that nnU-Net's trainer has, for which there is no file.
BUILT_IN = ("nnunet", "none")
# Parameters of MONAI's random transforms. Spatial ones move image and label alike.
SPATIAL = {
    "RandFlip": ("prob", "spatial_axis"),
    "RandAxisFlip": ("prob",),
    "RandRotate": ("prob", "range_x", "range_y", "range_z", "padding_mode"),
    "RandRotate90": ("prob", "max_k", "spatial_axes"),
    "RandZoom": ("prob", "min_zoom", "max_zoom", "padding_mode"),
    "RandAffine": (
        *("prob", "rotate_range", "shear_range", "translate_range", "scale_range"),
        "padding_mode",
    ),
    "Rand2DElastic": (
        *("prob", "spacing", "magnitude_range", "rotate_range", "shear_range"),
        *("translate_range", "scale_range", "padding_mode"),
    ),
    "Rand3DElastic": (
        *("prob", "sigma_range", "magnitude_range", "rotate_range", "shear_range"),
        *("translate_range", "scale_range", "padding_mode"),
    ),
    "RandGridDistortion": ("prob", "num_cells", "distort_limit", "padding_mode"),
}
INTENSITY = {
    "RandGaussianNoise": ("prob", "mean", "std"),
    "RandGaussianSmooth": ("prob", "sigma_x", "sigma_y", "sigma_z"),
    "RandGaussianSharpen": ("prob", "alpha"),
    "RandAdjustContrast": ("prob", "gamma", "invert_image", "retain_stats"),
    "RandScaleIntensity": ("prob", "factors", "channel_wise"),
    "RandShiftIntensity": ("prob", "offsets", "channel_wise"),
    "RandScaleIntensityFixedMean": ("prob", "factors"),
    "RandCoarseDropout": (
        *("prob", "holes", "spatial_size", "max_holes", "max_spatial_size", "fill_value"),
    ),
    "RandHistogramShift": ("prob", "num_control_points"),
    "RandBiasField": ("prob", "degree", "coeff_range"),
    "RandGibbsNoise": ("prob", "alpha"),
}
TRANSFORMS = SPATIAL | INTENSITY


def check_augmentation(description: dict[str, Any], where: str) -> None:
    """Check the transforms of an augmentation.

    Parameters
    ----------
    description : dict
        A file of ``config/augmentations``.
    where : str
        Its name, for messages.

    Raises
    ------
    ValueError
        If a transform or one of its parameters is unknown, or nothing would be done.
    """
    for position, transform in enumerate(description["transforms"]):
        name = transform["transform"]
        key = f"{where}: transforms.{position}"
        if name not in TRANSFORMS:
            raise ValueError(
                f"{key}: unknown transform {name!r}; known: {', '.join(sorted(TRANSFORMS))}"
            )
        if unknown := sorted(transform.keys() - {"transform", *TRANSFORMS[name]}):
            raise ValueError(
                f"{key}: {name} has no parameter {unknown[0]!r}; allowed: "
                f"{', '.join(TRANSFORMS[name])}"
            )
        if not 0 < transform.get("prob", 0) <= 1:
            raise ValueError(
                f"{key}.prob: must be a probability above 0, found {transform.get('prob')!r}"
            )
    if not description["transforms"] and "mixing" not in description:
        raise ValueError(f"{where}: neither transforms nor mixing; a model without says none")


def mirrored_axes(description: dict[str, Any], dimension: int) -> tuple[int, ...]:
    """Return the axes along which an augmentation mirrors, which prediction may then do, too.

    Parameters
    ----------
    description : dict
        A file of ``config/augmentations``.
    dimension : int
        Of the patches.
    """
    axes: set[int] = set()
    for transform in description["transforms"]:
        if transform["transform"] == "RandAxisFlip":
            axes.update(range(dimension))
        elif transform["transform"] == "RandFlip":
            wanted = transform.get("spatial_axis")
            every = range(dimension) if wanted is None else wanted
            axes.update([every] if isinstance(every, int) else every)
    return tuple(sorted(axes))
