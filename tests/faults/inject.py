"""Inject faults into miniature experiments, and say what was survived and lost (`make faults`).

Every experiment ends by a plain rerun, and its tables, choices, label maps and weights must be
those of an undisturbed one, bit by bit.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterable
from pathlib import Path

from faults.damage import damage_in_turn
from faults.disks import fill_disk
from faults.experiment import differences, final_state, finish
from faults.kills import Kill, judge, stop_at_every_stage, stop_at_random
from project import MODELS, ROOT, Project, make_project

PARTS = ("kills", "damage", "disks")
COLUMNS = ["fault", "stage", "survived", "lost_jobs", "lost_seconds", "note"]
SEED = 12345
N_RANDOM = 20


def main() -> None:
    """Command line of `make faults`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar=f"{{{','.join(PARTS)}}}")
    options = parser.parse_args()
    if strange := set(options.parts) - {*PARTS}:
        parser.error(f"unknown: {', '.join(strange)}; there are {', '.join(PARTS)}")
    rows = []
    table = ROOT / "results" / "faults.csv"
    table.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, table.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in inject(Path(folder), options.parts):
            rows.append(row)
            writer.writerow(row)
            file.flush()
            print("  ".join(f"{row[name]}" for name in COLUMNS), flush=True)
    survived = [row for row in rows if row["survived"]]
    repeated = sum(row["lost_jobs"] for row in rows)
    seconds = sum(row["lost_seconds"] for row in rows)
    print(
        f"{len(rows)} faults injected, {len(survived)} survived; {repeated} finished jobs ran "
        f"again, {seconds:.0f} s of unfinished jobs were lost; see {table.relative_to(ROOT)}"
    )
    raise SystemExit(len(rows) != len(survived))


def inject(folder: Path, parts: list[str]):
    """Yield a row for each fault."""

    def new(name: str) -> Project:
        return make_project(folder / name, {"tiny": MODELS["tiny_3d"]})

    undisturbed = new("undisturbed")
    undisturbed.snakemake()
    expected = final_state(undisturbed)
    if "kills" in parts:
        project = new("stages")
        kills = list(_shown(stop_at_every_stage(project, SEED)))
        yield from _rows(kills, judge(project, kills, expected))
        project = new("random")
        kills = list(_shown(stop_at_random(project, SEED, N_RANDOM, longest=20.0)))
        yield from _rows(kills, judge(project, kills, expected))
    if "damage" in parts:
        project = new("damage")
        found = (
            (f"{damage.what}: {damage.harm.__name__}", damage.stage[-1], note)
            for damage, note in damage_in_turn(project)
        )
        yield from _in_turn(project, found, expected)
    if "disks" in parts:
        project = new("disks")
        yield from _in_turn(project, fill_disk(project, folder / "disk"), expected)


def _in_turn(project: Project, found: Iterable[tuple[str, str, str]], expected: dict):
    """Yield rows of faults that one experiment met in turn, once it has come to its end."""
    rows = []
    for fault, stage, note in found:
        print(f"     {fault}, {stage} {note}", flush=True)
        rows.append(_row(fault, stage, not note, note=note))
    finish(project, 2)
    different = differences(final_state(project), expected)
    for row in rows:
        note = row["note"] or ", ".join(different[:5])
        yield row | {"survived": not note, "note": note}


def _shown(kills):
    for number, kill in enumerate(kills, 1):
        print(f"{number:3d}  {kill.fault}, {kill.stage}: {kill.lost_seconds:.1f} s", flush=True)
        yield kill


def _rows(kills: list[Kill], different: list[str]):
    for kill in kills:
        note = ", ".join(different[:5])
        yield _row(kill.fault, kill.stage, kill.survived, kill.lost_jobs, kill.lost_seconds, note)


def _row(fault, stage, survived, lost_jobs=0, lost_seconds=0.0, note="") -> dict:
    values = fault, stage, survived, lost_jobs, round(lost_seconds, 1), note
    return dict(zip(COLUMNS, values, strict=True))


if __name__ == "__main__":
    main()
