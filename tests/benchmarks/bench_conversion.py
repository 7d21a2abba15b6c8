"""Conversion of CTs, which nnU-Net leaves to its users, beside plain loops that read and write."""

import json
import math
import os
import shutil
import time
from pathlib import Path

from costs import Cost, alone, ours, row
from project import make_project

N_CT = 6
CT_SHAPE = (100, 512, 512)  # in the file: KiTS stores the slices first
CT_AFFINE = [[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-3, 0, 0, 0], [0, 0, 0, 1]]  # in mm
CT_HEADERS = {"linked": "", "written": "abdomen of a patient"}  # free text is not taken over
CT_MB = N_CT * math.prod(CT_SHAPE) * 3 / 1e6  # of voxels: int16 images, uint8 label maps


def ct_rate(cost: Cost) -> str:
    """Return how many voxels of all CTs and label maps were handled."""
    return f"{CT_MB / cost.seconds:.0f} MB/s"


def bench_convert(folder: Path) -> list[dict]:
    """Convert CTs: files that can be linked, files that are written anew, and one changed case."""
    alone("bench_conversion.make_ct", folder)
    rows = []
    for kind in CT_HEADERS:
        loops = {
            f"plain loop of {name}, 1 process": alone(
                f"bench_conversion.loop_{name.lower()}", folder / kind, folder / f"{kind}_{name}"
            )
            for name in ("SimpleITK", "nibabel")
        }
        for workers in sorted({os.cpu_count(), 1}, reverse=True):
            mine = alone(
                "bench_conversion.convert_ct", folder / kind, folder / f"{kind}_{workers}", workers
            )
            work = f"{N_CT} CT converted, files {kind}, workers: {workers}; {ct_rate(mine)}"
            rows += [
                row(work, f"{name}; {ct_rate(loops[name])}", mine, loops[name]) for name in loops
            ]
    project = make_project(folder / "ours")
    raw = folder / "linked"
    project.configure(datasets=["kits19"], raw_folders={"kits19": str(raw)})
    rows.append(row(f"{N_CT} CT, snakemake convert", "-", ours(project, "convert"), None))
    image = raw / "data/case_00000/imaging.nii.gz"
    image.unlink()  # it has a second name among the results
    shutil.copy(folder / "written/data/case_00000/imaging.nii.gz", image)
    start = time.time()
    mine = ours(project, "convert")
    records = project.results.glob("nnUNet_raw/*/imagesTr/.ledger/*.json")
    n_new = sum(path.stat().st_mtime >= start for path in records)
    work = f"snakemake convert after one image changed: {n_new} of {N_CT} CT converted anew"
    return [*rows, row(work, "-", mine, None)]


def make_ct(folder: str) -> None:
    """Make CTs and label maps in the layout of KiTS 2019, in one folder for each kind of header."""
    import nibabel
    import numpy as np

    from conversion import describe

    Path(folder).mkdir(parents=True)
    Path(folder, "dataset.json").write_text(json.dumps(describe("kits19")))
    z, y, x = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in CT_SHAPE)]
    radius = np.sqrt((z / 0.7) ** 2 + ((y - 0.2) / 0.16) ** 2 + ((np.abs(x) - 0.33) / 0.16) ** 2)
    labels = np.add(radius < 1, radius < 0.4, dtype=np.uint8)  # two kidneys, each with a tumour
    body = np.where((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, 40, -1000) + 100 * (labels > 0)
    for number in range(N_CT):
        noise = np.random.default_rng(number).standard_normal(CT_SHAPE, np.float32)
        image = np.where(x**2 + y**2 < 1, body + 18 * noise, -1024).round().astype(np.int16)
        for name, description in CT_HEADERS.items():
            case = Path(folder, name, "data", f"case_{number:05d}")
            case.mkdir(parents=True)
            for file, voxels in (("imaging", image), ("segmentation", labels)):
                stored = nibabel.Nifti1Image(voxels, CT_AFFINE)
                stored.header.set_xyzt_units("mm")
                stored.header["descrip"] = description
                nibabel.save(stored, case / f"{file}.nii.gz")


def convert_ct(raw: str, folder: str, workers: str) -> None:
    """Convert the CTs as the workflow's script does."""
    from conversion import RULE
    from convert_dataset import main as convert_dataset

    convert_dataset(
        raw=Path(raw),
        dataset=json.loads(Path(raw).with_name("dataset.json").read_text()),
        rule=RULE,
        pairs=None,
        part="train",
        state="",
        folder=Path(folder, "converted"),
        workers=int(workers),
        cases=Path(folder, "train.csv"),
        problems=Path(folder, "problems.csv"),
        sources=Path(folder, "sources.json"),
    )


def loop_simpleitk(raw: str, folder: str) -> None:
    """Read and write each file once, without any check."""
    import SimpleITK as sitk

    Path(folder).mkdir()
    for path in sorted(Path(raw).rglob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        sitk.WriteImage(image, f"{folder}/{path.parent.name}_{path.name}", useCompression=True)


def loop_nibabel(raw: str, folder: str) -> None:
    """Read and write each file once, without any check."""
    import nibabel
    import numpy as np

    Path(folder).mkdir()
    for path in sorted(Path(raw).rglob("*.nii.gz")):
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        copied = nibabel.Nifti1Image(voxels, image.affine, image.header)
        nibabel.save(copied, f"{folder}/{path.parent.name}_{path.name}")
