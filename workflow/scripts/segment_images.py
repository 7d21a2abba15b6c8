"""Segment or classify new images with a predictor of a finished run (rule `segment_images`)."""

import argparse
import json
from pathlib import Path

from segflow.files.content import read_own_json
from segflow.jobs.devices import may_lease
from segflow.jobs.folder_leases import held
from segflow.jobs.logs import explained
from segflow.jobs.processes import end_cleanly
from segflow.models.folds import read_fold
from segflow.models.nnunet import use_folders
from segflow.predictors.segmentation import Predictor, add_options, segment


def main(arguments: list[str] | None = None) -> None:
    """Segment or classify new images with a predictor of a finished run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--nnunet-name", required=True, help="nnU-Net's name of the data set")
    parser.add_argument("--results", type=Path, required=True, help="folder of the finished run")
    parser.add_argument("--members", nargs="+", required=True, help="MODEL:WEIGHT")
    parser.add_argument("--folds", nargs="+", required=True, help="MODEL:FOLD,FOLD,...")
    parser.add_argument("--postprocessing", type=Path, help="chosen steps; no label maps without")
    parser.add_argument("--classes", nargs="*", default=[], help="those to tell apart, if any")
    parser.add_argument("--ranges", type=Path, required=True, help="of the training cases")
    parser.add_argument("--codes", type=json.loads, default={}, help="of labels, as JSON")
    add_options(parser)
    options = parser.parse_args(arguments)

    end_cleanly()
    use_folders(options.results)
    work = options.output / ".work"
    leased = may_lease(options.device, share=options.gpu_share)
    with held(work), leased:
        predictor = Predictor(
            results=options.results,
            dataset=options.dataset,
            nnunet_name=options.nnunet_name,
            members={model: float(weight) for model, weight in _pairs(options.members)},
            folds={
                model: [(read_fold(fold),) for fold in folds.split(",")]
                for model, folds in _pairs(options.folds)
            },
            steps=read_own_json(options.postprocessing) if options.postprocessing else None,
            classes=options.classes,
            ranges=read_own_json(options.ranges),
            codes=options.codes,
        )
        segment(options, work, predictor)


def _pairs(texts: list[str]) -> list[list[str]]:
    """Read texts of the form ``MODEL:VALUE``."""
    return [text.rsplit(":", 1) for text in texts]


if __name__ == "__main__":
    with explained():
        main()
