"""Summarise the metrics of all predictors of a data set (rule `summarise_metrics`)."""

from pathlib import Path

from segflow.content import replacing
from segflow.job import logged
from segflow.metrics import METRICS, VOLUMES
from segflow.summaries import before_and_after, read_metrics, summarise
from segflow.web import page


def main(tables: dict[str, Path], titles: dict[str, str], title: str, output: dict) -> None:
    """Write the summary of the `tables` of each predictor as CSV, Markdown, LaTeX and HTML."""
    summary = summarise(read_metrics(tables), [*METRICS, *VOLUMES])
    with replacing(output["csv"]) as path:
        summary.to_csv(path, index=False, float_format="%.6g")
    sections = {
        f"{metric.capitalize() if metric != 'iou' else 'IoU'}, {where}": before_and_after(
            summary, metric, split
        ).replace({"predictor": titles})
        for metric in METRICS
        for split, where in (("val", "cross-validation"), ("test", "test cases"))
        if (summary["split"] == split).any()
    }
    markdown = [f"# {title}", "Mean ± standard deviation before and after post-processing."]
    latex = []
    for heading, table in sections.items():
        markdown += [f"## {heading}", table.to_markdown(index=False)]
        caption = f"{title}. {heading}: before and after post-processing."
        latex.append(table.to_latex(index=False, caption=caption, escape=True))
    with replacing(output["markdown"]) as path:
        path.write_text("\n\n".join(markdown) + "\n")
    with replacing(output["latex"]) as path:
        path.write_text("\n".join(latex))
    with replacing(output["html"]) as path:
        path.write_text(page(title, sections))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={Path(path).parent.name: Path(path) for path in snakemake.input.metrics},
            titles=snakemake.params.titles,
            title=snakemake.params.title,
            output={name: Path(path) for name, path in snakemake.output.items()},
        )
