"""Segment new images with a trained nnU-Net from elsewhere (rule `segment_with_archive`)."""

import argparse
from pathlib import Path

from segflow.jobs.devices import may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.models.nnunet import use_folders
from segflow.predictors.archives import install
from segflow.predictors.segmentation import add_options, segment
from segflow.run.schemas import reading_defaults


def main(arguments: list[str] | None = None) -> None:
    """Segment new images with a trained nnU-Net from elsewhere."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="zip of a trained model")
    parser.add_argument("--configuration", default="", help="which of its models")
    add_options(parser)
    options = parser.parse_args(arguments)

    end_cleanly()
    work = options.output / ".work"
    results = work / "model"
    use_folders(results)
    with held(work), may_lease(options.device, share=options.gpu_share):
        predictor = install(options.archive, options.configuration, reading_defaults(), results)
        segment(options, work, predictor)


if __name__ == "__main__":
    with explained():
        main()
