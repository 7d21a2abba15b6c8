"""Let Clinica convert a download of ADNI to BIDS (rule `convert_adni_to_bids`)."""

import json
import shutil
import subprocess
from pathlib import Path

from segflow.jobs.logs import logged


def main(images: Path, clinical: Path, bids: Path, record: Path) -> None:
    """Run Clinica, unless the BIDS folder is there already, and record its command.

    Raises
    ------
    RuntimeError
        If Clinica or dcm2niix is not there, or ends with an error.
    """
    command = ["clinica", "convert", "adni-to-bids", str(images), str(clinical), str(bids)]
    command += ["--modalities", "T1"]
    if not list(bids.glob("sub-*")):
        shown = " ".join(command)
        if missing := [name for name in ("clinica", "dcm2niix") if shutil.which(name) is None]:
            raise RuntimeError(
                f"{bids}: no BIDS folder, and {' and '.join(missing)} to make it is not there; run "
                "Snakemake with --software-deployment-method conda, or install Clinica and run: "
                f"{shown}"
            )
        print(shown, flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, flush=True)
        if done.returncode:
            raise RuntimeError(f"Clinica ended with an error; the log has its words: {shown}")
    record.write_text(json.dumps({"command": command, "bids": str(bids)}, indent=2) + "\n")


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            images=Path(snakemake.params.images),
            clinical=Path(snakemake.params.clinical),
            bids=Path(snakemake.params.bids),
            record=Path(snakemake.output.record),
        )
