"""Draw what a model's networks look at over the template (rule `plot_saliency`)."""

from pathlib import Path

from segflow.files.cases import read_rows
from segflow.images.brains import load_template_on, place_in_template
from segflow.images.nifti import read_image
from segflow.jobs.logs import logged
from segflow.models.saliency_files import COLUMNS, METHODS, map_file
from segflow.report.brain_figures import draw_saliency, find_centre
from segflow.report.drawing import draw_message, save


def main(table: Path, folder: Path, classes: list[str], title: str, figure: Path) -> None:
    """Draw the maps in `folder`, a row for each class and method."""
    told = [row["class"] for row in read_rows(table, COLUMNS)]
    maps, places, template = {}, {}, None
    for place, name in enumerate(classes):
        for method, shown in METHODS.items() if name in told else ():
            array, grid = read_image(folder / map_file(place, name, method))
            about = f"{name}\n{shown}\nn = {told.count(name)}"
            template = load_template_on(grid) if template is None else template
            centre = find_centre(array[0], template > 0, grid.spacing_mm)
            maps[about], places[about] = (array[0], centre), place_in_template(grid, centre)
    if template is None:
        save(draw_message("No validation case is told rightly."), figure)
        return
    save(draw_saliency(template, maps, places, grid.spacing_mm, title), figure)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            table=Path(snakemake.input.table),
            folder=Path(snakemake.params.folder),
            classes=snakemake.params.classes,
            title=snakemake.params.title,
            figure=Path(snakemake.output.figure),
        )
