"""Fail if something was wrong with new images, when all others are done (`check_new_images`)."""

from pathlib import Path

from segflow.datasets.problems import failed_cases, raise_problems, read_problems
from segflow.files.cases import read_rows
from segflow.files.manifests import SEGMENTED
from segflow.files.words import counted
from segflow.jobs.logs import logged


def main(table: Path, problems: Path, images: str) -> None:
    """Raise what the table of `problems` lists; the `table` has the images that were done."""
    found = read_problems(problems)
    done = {row["case"] for row in read_rows(table, ["case"], more=True)}
    word = "segmented" if table.name == SEGMENTED else "classified"
    of = counted(len(done | failed_cases(found)), "image")
    raise_problems(found, f"{images}: {len(done)} of {of} {word}", str(problems))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            table=Path(snakemake.input[0]),
            problems=Path(snakemake.params.problems),
            images=snakemake.params.images,
        )
