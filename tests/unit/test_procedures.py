"""Run this file to store the keys of the modules as they are now."""

import json
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parent
sys.path.append(str(UNIT.parents[1] / "workflow" / "scripts"))  # for use without pytest

from segflow.code import module_key, procedure  # noqa: E402

TABLE = UNIT / "procedures.json"
MODULES = [
    "convert",
    "formats",
    "images",
    "preparation",
    "contours",
    "dicom",
    "mammography",
    "pictures",
    "preprocessing",
    "training",
    "prediction",
    "segmentation",
    "archives",
    "trainers/segflow_trainer",
    "probabilities",
    "cascade",
]


def describe(module):
    try:
        number = procedure(module)
    except ValueError:
        number = None
    return {"procedure": number, "key": module_key(module)}


def test_every_module_is_in_the_table():
    assert list(json.loads(TABLE.read_text())) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_module_is_a_decision_about_its_procedure(module):
    stored, found = json.loads(TABLE.read_text())[module], describe(module)
    assert found == stored, (
        f"segflow/{module}.py changed. Decide: if results come out differently, move PROCEDURE, "
        "here or in the module whose command uses this one, so that finished work is done again; "
        f"if not, leave it. Then store the new key: python tests/unit/{Path(__file__).name}"
    )


if __name__ == "__main__":
    TABLE.write_text(json.dumps({module: describe(module) for module in MODULES}, indent=2) + "\n")
