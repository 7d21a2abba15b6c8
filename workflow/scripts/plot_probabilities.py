"""Draw reliability diagrams and FROC curves (rule `plot_probabilities`)."""

from pathlib import Path

from segflow.files.frames import read_frame
from segflow.jobs.logs import logged
from segflow.report.drawing import draw_message, save
from segflow.report.metric_figures import draw_froc, draw_reliability


def main(tables: dict[str, Path], titles: dict[str, str], output: dict[str, Path]) -> None:
    """Draw the `tables` of calibration, reliability, operating points and curves."""
    texts = ["predictor", "split", "label", "domain"]
    found = {
        name: read_frame(path, texts).replace({"predictor": titles})
        for name, path in tables.items()
    }
    near, bins = (
        table[table["domain"] == "near"] for table in (found["calibration"], found["reliability"])
    )
    figures = {
        "reliability": draw_reliability(near, bins) if len(near) else None,
        "froc": draw_froc(found["froc"], found["curves"]) if len(found["froc"]) else None,
    }
    for name, figure in figures.items():
        missing = "calibration" if name == "reliability" else "froc"
        save(figure or draw_message(f"The data set does not ask for it ({missing})"), output[name])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={name: Path(path) for name, path in snakemake.input.items()},
            titles=snakemake.params.titles,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
