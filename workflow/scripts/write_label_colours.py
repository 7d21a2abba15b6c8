"""Name and colour the labels for other viewers (rule `write_label_colours`)."""

from pathlib import Path

from segflow.files.content import replacing
from segflow.files.labels import Labels
from segflow.images.palette import label_colours, label_names
from segflow.jobs.logs import logged


def main(labels: Labels, itksnap: Path, slicer: Path) -> None:
    """Write label descriptions of ITK-SNAP and a colour table of 3D Slicer."""
    names, colours = label_names(labels), label_colours(labels)
    with replacing(itksnap) as path:
        lines = ["# Labels of ITK-SNAP: value, red, green, blue, opacity, shown, meshed, name"]
        lines.append('0 0 0 0 0 0 0 "Clear Label"')
        lines += [f'{value} {_rgb(colours[value])} 1 1 1 "{names[value]}"' for value in colours]
        path.write_text("\n".join(lines) + "\n")
    with replacing(slicer) as path:
        lines = ["# Color table of 3D Slicer: value, name, red, green, blue, opacity"]
        lines.append("0 background 0 0 0 0")
        lines += [
            f"{value} {'_'.join(names[value].split())} {_rgb(colours[value])} 255"
            for value in colours
        ]
        path.write_text("\n".join(lines) + "\n")


def _rgb(colour: list[int]) -> str:
    return " ".join(map(str, colour))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            labels=snakemake.params.labels,
            itksnap=Path(snakemake.output.itksnap),
            slicer=Path(snakemake.output.slicer),
        )
