"""Write a first table and description of a folder of your own images (`make dataset`)."""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import yaml

from segflow.datasets.drafts import Draft, draft
from segflow.run.schemas import PROJECT

DATASETS = Path("config/datasets")
TABLE = "cases.csv"
COLUMNS = ["case", "image", "label", "patient", "split", "class"]


def describe(found: Draft, name: str, raw: Path, number: int) -> str:
    """Return a description with comments, for ``config/datasets/NAME.yaml``."""
    lines = ["# A draft: look at everything, and above all at this:"]
    lines += [f"# * {text}" for text in found.unclear]
    lines += [
        f"id: {number} # nnU-Net's number, one for each data set",
        f"title: {name}",
        f"converter: {found.converter}",
        f"raw: {json.dumps(str(raw))}",
        "source: unknown # where the data come from",
        "license: unknown # who may use them, and for what",
        "citation: unknown # what to cite",
    ]
    if found.converter == "table":
        lines += [
            f"channels: {json.dumps(found.channels)} # CT has a normalisation of its own",
            f"labels: {json.dumps(found.labels)}",
        ]
    if found.classes:
        lines.append(f"classes: {json.dumps(found.classes)}")
    if found.reading:
        lines.append(f"reading: {json.dumps(found.reading)}")
    lines += [
        "# surface_tolerance_mm: 2 # how far off a border may be; measures the surface Dice",
        "# lesions: { labels: [label_1] } # counts lesions one by one",
        "# held_out: 0.2 # makes test cases where there are none",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None, datasets: Path = DATASETS) -> None:
    """Look at a folder of images, and write a table and a description of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("raw", type=Path, help="folder of the images")
    parser.add_argument("name", help="name of the data set: small letters, digits and _")
    options = parser.parse_args(arguments)
    raw, name = options.raw.absolute(), options.name
    description = datasets / f"{name}.yaml"
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        sys.exit(f"NAME={name}: use small letters, digits and _, a letter first")
    if not raw.is_dir():
        sys.exit(f"RAW={raw}: no such folder")
    for path in (description, raw / TABLE):
        if path.exists():
            sys.exit(f"{path}: is there already, and would be written; move it away first")
    try:
        found = draft(raw)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    others = [path for folder in (PROJECT / DATASETS, datasets) for path in folder.glob("*.yaml")]
    known = {yaml.safe_load(path.read_text()).get("id") for path in others}
    number = next(n for n in range(500, 1000) if n not in known)
    if found.converter == "table":
        with (raw / TABLE).open("w", newline="") as file:
            columns = [c for c in COLUMNS if c in COLUMNS[:3] or any(r[c] for r in found.rows)]
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(found.rows)
        print(f"{raw / TABLE}: {len(found.rows)} cases")
    datasets.mkdir(parents=True, exist_ok=True)
    description.write_text(describe(found, name, raw, number))
    print(f"{description}: the description")
    print("Look at both. What is unclear:", *(f"* {text}" for text in found.unclear), sep="\n")
    chosen = f"--config 'datasets=[{name}]' 'models=[]' 'ensembles={{}}'"
    print(f"Then see what conversion says: snakemake --cores all convert {chosen}")


if __name__ == "__main__":
    main()
