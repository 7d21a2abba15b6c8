"""Remove probabilities that no predictor needs any more (rule `discard_probabilities`)."""

import shutil
from pathlib import Path

from segflow.files.cases import write_rows
from segflow.jobs.logs import logged


def main(folders: list[Path], record: Path) -> None:
    """Remove `folders` and write to `record` how much that freed."""
    rows = []
    for folder in folders:
        files = [path for path in folder.rglob("*.b2nd") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        rows.append({"folder": folder, "files": len(files), "megabytes": f"{size / 1e6:.1f}"})
        for part in sorted(path for path in folder.glob("*") if path.is_dir()):
            shutil.rmtree(part)
    write_rows(record, rows, ["folder", "files", "megabytes"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            folders=[Path(folder) for folder in snakemake.params.folders],
            record=Path(snakemake.output.record),
        )
