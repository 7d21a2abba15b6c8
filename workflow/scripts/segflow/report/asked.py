"""What the report is asked of a data set."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """What a run asks of a data set.

    Parameters
    ----------
    name : str
        Name of the data set.
    described : dict
        Its description.
    titles : dict of str to str
        Titles of predictors that make label maps, in their order.
    class_titles : dict of str to str
        Titles of those that tell classes; empty if none does.
    models : dict of str to dict
        Descriptions of the models.
    studies_inference : bool
        Whether ways to predict are studied.
    """

    name: str
    described: dict[str, Any]
    titles: dict[str, str]
    class_titles: dict[str, str]
    models: dict[str, dict[str, Any]]
    studies_inference: bool = False

    @property
    def all_titles(self) -> dict[str, str]:
        """Titles of all that segments or tells classes."""
        return self.titles | self.class_titles
