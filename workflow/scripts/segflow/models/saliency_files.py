"""Names of the maps of what networks look at, and columns of the table of their cases."""

from segflow.images.nifti import SUFFIX

GRADIENTS, OCCLUSION = "integrated_gradients", "occlusion"
METHODS = {GRADIENTS: "integrated gradients", OCCLUSION: "occlusion"}  # with their titles
COLUMNS = ["case", "fold", "class", "logit", "blurred_logit", "sum_of_gradients"]


def map_file(place: int, name: str, method: str) -> str:
    """Return the name of the file of the mean map of a class, which has a place and a name."""
    return f"{place}_{name.replace('/', '_')}_{method}{SUFFIX}"
