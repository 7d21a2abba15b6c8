"""A pancreas set whose three subtypes differ in the shape and the texture of the lesion."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from layouts import AXIAL
from segflow.images.nifti import Grid, write_image

SHAPE, SPACING_MM = (16, 48, 48), (2.5, 1.0, 1.0)
# A quarter of the published numbers of training and of validation cases.
TRAINING, VALIDATION = (15, 27, 21), (2, 4, 3)


def make_told_pancreas(folder: Path, seed: int = 0, shuffled: bool = False) -> None:
    """Write training, validation and test cases in the published layout.

    Lesions of subtype 0 are round and even, those of subtype 1 long and striped, those of subtype 2
    round with a bright rim. Sizes and mean intensities tell nothing. Masks are inexact floats.

    Parameters
    ----------
    folder : Path
        The raw folder.
    seed : int
        Of all that is drawn.
    shuffled : bool
        Whether the looks have nothing to do with the subtypes, of which there are as many.
    """
    rng = np.random.default_rng([seed, 7])
    cases = [
        (part, f"{subtype}_{100 * (part == 'validation') + 30 * subtype + number + 1:03d}", subtype)
        for part, counts in (("train", TRAINING), ("validation", VALIDATION))
        for subtype, count in enumerate(counts)
        for number in range(count)
    ]
    cases += [("test", f"{number + 1:03d}", number % 3) for number in range(3)]
    looks = [look for _, _, look in cases]
    for (part, number, subtype), look in zip(
        cases, rng.permutation(looks) if shuffled else looks, strict=True
    ):
        image, labels = draw_case(look, rng)
        place = folder / "data" / part
        place = place if part == "test" else place / f"subtype{subtype}"
        place.mkdir(parents=True, exist_ok=True)
        grid = Grid(SHAPE, SPACING_MM, (0.0, 0.0, 0.0), AXIAL)
        write_image(place / f"quiz_{number}_0000.nii.gz", image, grid)
        if part != "test":
            inexact = np.where(labels > 0, labels + 1e-7, 0.0)
            write_image(place / f"quiz_{number}.nii.gz", inexact, grid)


def draw_case(look: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return image and labels: an organ across the image, and a lesion in it."""
    z, y, x = (
        (np.arange(size) - size / 2) * spacing
        for size, spacing in zip(SHAPE, SPACING_MM, strict=True)
    )
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    bend = rng.uniform(-4, 4)
    organ = (z / 14) ** 2 + ((y - bend * (x / 20) ** 2) / 11) ** 2 + (x / 22) ** 2 < 1
    centre = rng.uniform((-3, -3, -8), (3, 3, 8))
    dz, dy, dx = z - centre[0], y - centre[1], x - centre[2]
    size, angle = rng.uniform(6, 8), rng.uniform(0, np.pi)
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    stretch = 1.5 if look == 1 else 1.0
    distance = np.sqrt((along / stretch) ** 2 + (across * np.sqrt(stretch)) ** 2 + dz**2) / size
    lesion = (distance < 1) & organ
    texture = {
        0: np.zeros(SHAPE),
        1: 45 * np.sin(2 * np.pi * along / 5 + rng.uniform(0, 6)),
        2: np.where(distance > 0.7, 45.0, -30.0),
    }[look]
    image = ndimage.gaussian_filter(rng.normal(0, 40, SHAPE), (0.5, 1, 1)) + 20
    image[organ] += 60
    texture = texture - texture[lesion].mean() if lesion.any() else texture
    image[lesion] += texture[lesion] - 70 + rng.uniform(-10, 10)
    return image.round().astype(np.int16), organ.astype(np.uint8) + lesion
