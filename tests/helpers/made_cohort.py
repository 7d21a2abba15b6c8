"""A made cohort of Alzheimer's disease: heads drawn from the MNI template, in ADNI's BIDS layout.

Each subject is the template brain in a drawn head, deformed smoothly and at random. Its ventricles
grow and its medial temporal lobes shrink with the diagnosis and with age; each visit has a pose, a
bias field and noise of its own. The tables are those that Clinica writes for ADNI. What is known of
each image, its pose above all, stands in `sourcedata/truth.csv`.

Run as a program it writes a cohort: python tests/helpers/made_cohort.py FOLDER --each 20
"""

import argparse
import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
from nilearn.datasets import load_mni152_template
from scipy.ndimage import binary_closing, distance_transform_edt, gaussian_filter, map_coordinates

CLASSES = ("CN", "MCI", "AD")
SEVERITY = {"CN": 0.0, "MCI": 0.45, "AD": 1.0}
SCORES = {"CN": (29, 0.0), "MCI": (26, 0.5), "AD": (21, 1.0)}  # mean MMSE, CDR
AIR, FLUID, BONE, FAT, MUSCLE = 0.0, 45.0, 18.0, 210.0, 110.0
FLUID_MM, BONE_MM, FAT_MM = 3, 9, 15  # outer limits of what lies around the brain
BELOW_MM, AROUND_MM = 50, 18  # of the template's box, for neck and scalp
# Centres in MNI space (x, y, z in mm) and widths of what the disease changes.
VENTRICLES = [((side * 12, y, z), 13.0) for side in (-1, 1) for y, z in ((-32, 18), (8, 14))]
TEMPORAL = [((side * 27, -20, -16), 11.0) for side in (-1, 1)]
ORIENTATIONS = ("RAS", "LPS", "PIR", "ASL")
BOX_MM, GRID_MM = ((-90, 90), (-125, 90), (-75, 95)), 5  # of the displacements


@dataclass(frozen=True)
class Head:
    """A drawn head: values of shape (x, y, z), the affine to mm, and points of its brain in mm."""

    values: np.ndarray
    affine: np.ndarray
    brain_points: np.ndarray


@cache
def template_head() -> Head:
    """Return the template's brain within fluid, bone, fat and a neck, at 1 mm."""
    image = load_mni152_template(resolution=1)
    padding = [(AROUND_MM, AROUND_MM), (AROUND_MM, AROUND_MM), (BELOW_MM, AROUND_MM)]
    brain = np.pad(image.get_fdata(dtype=np.float32), padding)
    brain *= 255 / brain.max()
    affine = image.affine.copy()
    affine[:3, 3] -= [before for before, _ in padding]
    inside = binary_closing(brain > 0, iterations=3)
    distance_mm = distance_transform_edt(~inside)
    x, y, z = (
        np.arange(size).reshape([-1 if axis == own else 1 for own in range(3)]) + affine[axis, 3]
        for axis, size in enumerate(brain.shape)
    )
    neck = (z < -30) & ((x / 60) ** 2 + ((y + 35) / 65) ** 2 < 1)
    face = (x / 55) ** 2 + ((y - 45) / 55) ** 2 + ((z + 65) / 55) ** 2 < 1
    values = np.where(neck | face, MUSCLE, AIR).astype(np.float32)
    for limit_mm, value in ((FAT_MM, FAT), (BONE_MM, BONE), (FLUID_MM, FLUID)):
        values[distance_mm <= limit_mm] = value
    values = np.where(inside, np.maximum(brain, FLUID), gaussian_filter(values, 0.7))
    points = np.argwhere(inside)[::2000] + affine[:3, 3]
    return Head(values, affine, points)


def atrophy(points: np.ndarray, severity: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where in the healthy brain a diseased one is seen, and how much of it is fluid.

    Parameters
    ----------
    points : ndarray of float
        Of shape (3, n): places in mm of the template.
    severity : float
        0 of the healthy, 1 of the diseased.
    """
    healthy, fluid = points.copy(), np.zeros(points.shape[1])
    for sign, places in ((-0.5, VENTRICLES), (0.6, TEMPORAL)):
        for centre, width_mm in places:
            offset = points - np.reshape(centre, (3, 1))
            near = np.exp(-((offset / width_mm) ** 2).sum(axis=0) / 2)
            healthy += sign * severity * near * offset
            if sign > 0:
                fluid = np.maximum(fluid, 0.35 * severity * near)
    return healthy, np.clip(fluid, 0, 0.8)


def smooth_field(random: np.random.Generator, size_mm: float) -> np.ndarray:
    """Return displacements in mm on a grid of 5 mm, with no affine part over the brain."""
    axes = [np.arange(low, high + 1, GRID_MM) for low, high in BOX_MM]
    places = np.meshgrid(*[np.linspace(0, 5, len(axis)) for axis in axes], indexing="ij")
    coarse = random.normal(0, size_mm, (3, 6, 6, 6))
    field = np.stack([map_coordinates(one, places, order=3, mode="nearest") for one in coarse])
    points = template_head().brain_points.T
    affine = np.linalg.lstsq(_homogeneous(points).T, displace(field, points).T, rcond=None)[0]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    return field - (affine.T @ _homogeneous(lattice)).reshape(field.shape)


def displace(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the displacements, of shape (3, n), at points of the template."""
    places = (points - np.array(BOX_MM)[:, :1]) / GRID_MM
    return np.stack([map_coordinates(one, places, order=1, mode="nearest") for one in field])


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.vstack([points, np.ones(points.shape[1])])


def draw_pose(random: np.random.Generator, largest: float = 1.0) -> np.ndarray:
    """Return an affine, of shape (4, 4), from mm of the template to mm of the scanner."""
    angles = np.radians(random.normal(0, [7, 5, 5])) * largest
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[[one, one, other, other], [one, other, one, other]] = [
            *(np.cos(angle), -np.sin(angle)),
            *(np.sin(angle), np.cos(angle)),
        ]
        rotation = turn @ rotation
    pose = np.eye(4)
    pose[:3, :3] = rotation @ np.diag(random.normal(1, 0.04, 3))
    pose[:3, 3] = random.normal(0, 8, 3) * largest
    return pose


def draw_image(
    random: np.random.Generator,
    pose: np.ndarray,
    field: np.ndarray,
    severity: float,
    spacing_mm: float,
    orientation: str,
) -> nibabel.Nifti1Image:
    """Return the image of a head in a pose, with a bias field and noise, as it would be stored."""
    head = template_head()
    corners = np.stack(
        np.meshgrid(*[(0, size - 1) for size in head.values.shape], indexing="ij")
    ).reshape(3, -1)
    corners = (pose @ head.affine @ _homogeneous(corners))[:3]
    first = corners.min(axis=1)
    shape = np.ceil((corners.max(axis=1) - first) / spacing_mm).astype(int) + 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = first
    voxels = np.indices(shape).reshape(3, -1)
    places = (np.linalg.inv(pose) @ affine @ _homogeneous(voxels))[:3]
    healthy, fluid = atrophy(places + displace(field, places), severity)
    index = healthy - head.affine[:3, 3:]
    values = map_coordinates(head.values, index, order=1, mode="constant")
    values = values * (1 - fluid) + np.minimum(values, FLUID) * fluid
    centred = (voxels / np.reshape(shape, (3, 1)) - 0.5) * 2
    slopes, squares = random.normal(0, 0.12, 3), random.normal(0, 0.1, 3)
    bias = np.exp(slopes @ centred + squares @ centred**2)
    noise = random.normal(0, 4, (2, len(values)))
    values = np.hypot(values * bias + noise[0], noise[1])
    scaled = np.clip(values * random.uniform(2, 6), 0, 32000).astype(np.int16).reshape(shape)
    image = nibabel.Nifti1Image(scaled, affine)
    stored = nibabel.orientations.axcodes2ornt(orientation)
    return image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), stored)
    )


def make_cohort(
    folder: Path,
    each: int = 4,
    visits: tuple[int, ...] = (0, 12),
    spacing_mm: float = 2.0,
    deformation_mm: float = 2.5,
    shuffled: bool = False,
    seed: int = 1,
) -> list[dict]:
    """Write a cohort and return what is known of each image.

    Parameters
    ----------
    folder : Path
        The BIDS folder to write.
    each : int
        Subjects of each class.
    visits : tuple of int
        Months of the visits; every other subject has the first one only.
    spacing_mm : float
        Spacing of the images.
    deformation_mm : float
        Standard deviation of the displacements that make subjects differ.
    shuffled : bool
        Whether the tables give the diagnoses to subjects by chance.
    seed : int
        Seed of everything.
    """
    random = np.random.default_rng(seed)
    true = [CLASSES[number % 3] for number in range(3 * each)]
    told = [str(name) for name in random.permutation(true)] if shuffled else true
    participants, truth = [], []
    for number, (diagnosis, written) in enumerate(zip(true, told, strict=True)):
        subject = f"sub-ADNI{2 + number % 5:03d}S{4000 + number:04d}"
        age, sex = float(np.round(random.normal(74, 6), 1)), "MF"[int(random.integers(2))]
        field, own = smooth_field(random, deformation_mm), random.normal(0, 0.12)
        participants.append(
            {
                "participant_id": subject,
                "alternative_id_1": f"{subject[8:11]}_S_{subject[12:]}",
                "sex": sex,
                "education_level": int(random.integers(8, 21)),
                "age_bl": age,
                "diagnosis_sc": written,
                "marital_status": "n/a",
            }
        )
        sessions = []
        for month in visits if number % 2 == 0 else visits[:1]:
            now = age + month / 12
            severity = SEVERITY[diagnosis] + own + 0.015 * (now - 74) + 0.05 * month / 12
            mmse, cdr = SCORES[written]
            session = f"ses-M{month:03d}"
            sessions.append(
                {
                    "session_id": session,
                    "age": f"{now:.1f}",
                    "diagnosis": written,
                    "MMSE": int(np.clip(random.normal(mmse, 1.5), 0, 30)),
                    "cdr_global": cdr,
                    "examination_date": "n/a",
                }
            )
            pose = draw_pose(random)
            orientation = ORIENTATIONS[int(random.integers(len(ORIENTATIONS)))]
            image = draw_image(random, pose, field, severity, spacing_mm, orientation)
            name = f"{subject}_{session}"
            path = folder / subject / session / "anat" / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(image, path)
            _write_json(path.with_name(f"{name}_T1w.json"), {"MagneticFieldStrength": 3})
            scan = {"filename": f"anat/{path.name}", "scan_id": number, "mri_field": 3}
            _write_table(folder / subject / session / f"{name}_scans.tsv", [scan])
            shown = {
                f"pose_{row}{column}": pose[row, column] for row in range(3) for column in range(4)
            }
            truth.append({"case": name, "class": diagnosis, "severity": severity, **shown})
        _write_table(folder / subject / f"{subject}_sessions.tsv", sessions)
    _write_table(folder / "participants.tsv", participants)
    description = {"Name": "ADNI, made from a template", "BIDSVersion": "1.7.0"}
    _write_json(folder / "dataset_description.json", description | {"DatasetType": "raw"})
    (folder / "README").write_text("Made from the MNI template; nobody's head is shown.\n")
    (folder / "sourcedata").mkdir(exist_ok=True)
    _write_table(folder / "sourcedata" / "truth.csv", truth, ",")
    return truth


def pose_of(row: dict) -> np.ndarray:
    """Return the pose of a row of the truth, as `draw_pose` does."""
    rows = [[float(row[f"pose_{r}{c}"]) for c in range(4)] for r in range(3)]
    return np.array([*rows, [0, 0, 0, 1]])


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_table(path: Path, rows: list[dict], delimiter: str = "\t") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=20, help="subjects of each class")
    parser.add_argument("--spacing", type=float, default=2.0, help="mm")
    parser.add_argument("--visits", type=int, nargs="+", default=[0, 12], help="months")
    parser.add_argument("--deformation", type=float, default=2.5, help="mm")
    parser.add_argument("--shuffled", action="store_true", help="diagnoses by chance")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    made = make_cohort(
        given.folder,
        given.each,
        tuple(given.visits),
        given.spacing,
        given.deformation,
        given.shuffled,
        given.seed,
    )
    print(f"{len(made)} images in {given.folder}")
