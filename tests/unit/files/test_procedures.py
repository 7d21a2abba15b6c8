"""Run this file to store procedures and code keys as they are now."""

import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[2] / "workflow" / "scripts"))  # for use without pytest

from segflow.files.code import procedures  # noqa: E402

TABLE = HERE / "procedures.json"


@pytest.mark.parametrize("module", procedures())
def test_changed_code_is_a_decision_about_its_procedure(module):
    assert procedures()[module] == json.loads(TABLE.read_text()).get(module), (
        f"{module} or what it imports changed. Decide: if results come out differently, move its "
        "PROCEDURE, so that finished work is done again; if not, leave it. Then store the new "
        f"keys: python tests/unit/files/{Path(__file__).name}"
    )


def test_the_table_holds_nothing_else():
    assert json.loads(TABLE.read_text()).keys() == procedures().keys()


if __name__ == "__main__":
    TABLE.write_text(json.dumps(procedures(), indent=2) + "\n")
