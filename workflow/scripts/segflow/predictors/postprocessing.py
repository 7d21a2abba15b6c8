"""The adopted steps of post-processing, applied to the label maps of many cases."""

from functools import partial
from pathlib import Path

from segflow.files.code import module_key
from segflow.files.content import content_key, place_file
from segflow.images.nifti import SUFFIX, read_labels, write_image
from segflow.images.sizes import voxel_size
from segflow.jobs.workers import finish_cases
from segflow.predictors.steps import Step, apply_steps, read_steps


def postprocess_cases(
    sources: dict[str, str], source: Path, target: Path, choice: dict, workers: int
) -> dict[str, str]:
    """Apply the adopted steps to label maps; finished cases are kept.

    A label map that the steps do not change becomes a second name of the file before.

    Parameters
    ----------
    sources : dict of str to str
        The key of each label map before.
    source, target : Path
        Folders of the label maps before and after.
    choice : dict
        What the search returned: its ``steps`` are applied.
    workers : int
        Number of processes.

    Returns
    -------
    dict of str to str
        The key of each label map after: that before, if there are no steps.
    """
    steps = read_steps(choice)
    keys = dict(sources)
    if steps:
        code = module_key("predictors.steps")
        keys = {case: content_key(key, choice["steps"], code) for case, key in sources.items()}
    work = partial(_postprocess_case, source=source, target=target, steps=steps)
    finish_cases(target, keys, dict.fromkeys(keys), work, workers, "postprocess")
    return keys


def _postprocess_case(
    item: tuple[str, None], source: Path, target: Path, steps: list[Step]
) -> list[Path]:
    path = target / f"{item[0]}{SUFFIX}"
    before = source / path.name
    if steps:
        label_map, grid = read_labels(before)
        after = apply_steps(label_map, steps, voxel_size(grid))
        if after is not label_map:
            write_image(path, after, grid)
            return [path]
    place_file(before, path)
    return [path]
