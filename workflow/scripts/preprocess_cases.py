"""Preprocess the training or test cases (rule `preprocess_cases`)."""

import argparse
from pathlib import Path

from segflow.files.content import place_file, read_own_json
from segflow.files.manifests import read_converted, write_manifest
from segflow.images.nifti import SUFFIX
from segflow.jobs.logs import explained
from segflow.models.nnunet import lean_imports, use_folders
from segflow.models.preprocessing import preprocess_cases, preprocessed_folder

with lean_imports():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def main(arguments: list[str] | None = None) -> None:
    """Preprocess the training or test cases."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="table of cases")
    parser.add_argument("--plans", type=Path, required=True, help="base plans")
    parser.add_argument("--configuration", required=True, help="configuration of the plans")
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of all results")
    parser.add_argument("--manifest", type=Path, required=True, help="table to write")
    parser.add_argument("--part", choices=("train", "test"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory-mb", type=float, required=True)
    options = parser.parse_args(arguments)
    use_folders(options.results)
    _preprocess(options)


def _preprocess(options: argparse.Namespace) -> None:
    plans = PlansManager(read_own_json(options.plans))
    raw = options.results / "nnUNet_raw" / options.nnunet_name
    name = plans.get_configuration(options.configuration).data_identifier
    keys = preprocess_cases(
        read_converted(options.cases, raw),
        raw,
        read_own_json(raw / "dataset.json"),
        plans,
        options.configuration,
        preprocessed_folder(options.results, options.nnunet_name, name, options.part),
        options.threads,
        options.memory_mb,
    )
    if options.part == "train":
        # nnU-Net's own validation looks for the references beside the preprocessed data.
        target = options.results / "nnUNet_preprocessed" / options.nnunet_name
        for path in (raw / "labelsTr").glob(f"*{SUFFIX}"):
            place_file(path, target / "gt_segmentations" / path.name)
    write_manifest(options.manifest, keys)


if __name__ == "__main__":
    with explained():
        main()
