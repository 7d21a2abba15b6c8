"""The files that the report's page is put together from."""

from pathlib import Path

FOLDER = Path(__file__).parent / "page_files"


def page_files() -> list[str]:
    """Return the paths of templates, style and scripts, on which the page depends."""
    return sorted(str(path) for path in FOLDER.iterdir() if path.is_file())
