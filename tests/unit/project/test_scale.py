"""The simulation of very large runs (`make scale`) still calls what it measures."""

import json
import subprocess
import sys

from project import ROOT

STEPS = [
    *("make_files", "look_at_start", "convert", "touch", "gather_and_split", "finish", "evaluate"),
    *("invent_metrics", "summarise", "compare"),
]


def test_every_step_says_what_its_work_took(tmp_path):
    script = ROOT / "tests/scale/bookkeeping.py"
    for step in STEPS:
        command = [sys.executable, script, step, tmp_path / "set", "12"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{step}: {run.stderr}"
        if step not in ("make_files", "touch", "invent_metrics"):
            seconds, processor_seconds = json.loads(run.stdout.splitlines()[-1])
            assert processor_seconds >= 0
            assert seconds >= 0
