"""The files that the report's page is put together from."""

from pathlib import Path

from segflow.files.content import content_key, file_sha256

FOLDER = Path(__file__).parent / "page_files"


def page_key() -> str:
    """Return a key of templates, style and scripts, on which the page depends."""
    paths = sorted(path for path in FOLDER.iterdir() if path.is_file())
    return content_key({path.name: file_sha256(path) for path in paths})
