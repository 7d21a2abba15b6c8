"""Write the cases of a data set for the report's viewer (rule `prepare_viewer`)."""

from functools import partial
from pathlib import Path

from segflow.files.cases import write_rows
from segflow.files.code import module_key
from segflow.files.content import content_key, read_own_json, replacing
from segflow.files.manifests import check_finished, read_converted, read_manifest
from segflow.images.nifti import SUFFIX, read_image, read_labels
from segflow.jobs.logs import logged
from segflow.jobs.workers import count_workers, finish_cases
from segflow.models.planners import normalisation
from segflow.report.viewer import ViewedCase, write_script

COLUMNS = ["split", "case", "script", "bytes"]
BYTES_PER_VOXEL = 40
FOLDERS = {"val": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}


def write_case(
    todo: tuple[str, dict], dataset: str, labels: dict, channels: list[str], folder: Path
) -> list[Path]:
    """Write the script of a case into `folder`; what it is made from is beside its name."""
    case, files = todo
    maps, grid = {}, None
    for name, path in files["maps"].items():
        maps[name], grid = read_labels(path)
    images = {
        name: read_image(path)[0][0] for name, path in zip(channels, files["images"], strict=True)
    }
    ct = frozenset(name for name in channels if normalisation(name) == "ct")
    viewed = ViewedCase(f"{dataset}/{case}", images, ct, maps, grid)
    path = folder / f"{case}.js"
    with replacing(path) as temporary:
        temporary.write_text(write_script(viewed, labels))
    return [path]


def main(
    predictions: list[Path],
    cases: Path,
    splits: Path,
    folds: list[int],
    dataset: str,
    labels: dict,
    channels: list[str],
    raw: Path,
    threads: int,
    memory_mb: float,
    table: Path,
) -> None:
    """Write a script for each case that predictors say something of, and the `table` of them.

    Parameters
    ----------
    predictions : list of Path
        Manifests ``PREDICTOR/predictions/SPLIT/STAGE/predictions.csv``.
    cases, splits : Path
        The tables of the data set.
    folds : list of int
        Folds of the run.
    dataset : str
        Name of the data set.
    labels : dict
        Its labels.
    channels : list of str
        Its channels.
    raw : Path
        Its folder in nnU-Net's raw layout.
    threads, memory_mb : int, float
        What the job may use.
    table : Path
        Split, case, script and its size, one row a case.
    """
    parts = [cases.parent / "cases" / f"{part}.csv" for part in ("train", "test")]
    known = {case.case: case for case in read_converted(cases, raw, *parts)}
    divided = read_own_json(splits)
    chosen = {case: "val" for fold in folds for case in divided[fold]["val"]}
    chosen |= {name: "test" for name, case in known.items() if case.split == "test"}
    found: dict[str, dict] = {}
    for case, split in sorted(chosen.items()):
        images, references = FOLDERS[split]
        labelled = split == "val" or known[case].label
        found[case] = {
            "images": [raw / images / f"{case}_{i:04d}{SUFFIX}" for i in range(len(channels))],
            "maps": {"reference": raw / references / f"{case}{SUFFIX}"} if labelled else {},
        }
    keys: dict[str, list] = {case: [known[case].content] for case in found}
    for manifest in predictions:
        split, stage = manifest.parent.parent.name, manifest.parent.name
        name = f"{manifest.parents[3].name}/{stage}"
        done = read_manifest(manifest)
        check_finished(done, manifest, manifest.parent)
        for case, key in done.items():
            if chosen.get(case) == split:
                found[case]["maps"][name] = manifest.parent / f"{case}{SUFFIX}"
                keys[case].append([name, key])
    found = {case: files for case, files in found.items() if files["maps"]}
    shared = [labels, channels, module_key("report.viewer")]
    folder = table.parent / "viewer"
    largest = max((known[case].n_voxels for case in found), default=0)
    finish_cases(
        folder,
        {case: content_key(keys[case], shared) for case in found},
        found,
        partial(write_case, dataset=dataset, labels=labels, channels=channels, folder=folder),
        count_workers(threads, memory_mb, largest * BYTES_PER_VOXEL / 1e6, len(found)),
        "viewer",
    )
    rows = []
    for case in found:
        script = folder / f"{case}.js"
        rows.append(
            {
                "split": chosen[case],
                "case": case,
                "script": f"{dataset}/{folder.name}/{script.name}",
                "bytes": script.stat().st_size,
            }
        )
    write_rows(table, rows, COLUMNS)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            predictions=[Path(path) for path in snakemake.input.predictions],
            cases=Path(snakemake.input.cases),
            splits=Path(snakemake.input.splits),
            folds=snakemake.params.folds,
            dataset=snakemake.wildcards.dataset,
            labels=snakemake.params.labels,
            channels=snakemake.params.channels,
            raw=Path(snakemake.params.raw),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            table=Path(snakemake.output.table),
        )
