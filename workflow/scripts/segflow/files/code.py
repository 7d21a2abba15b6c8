"""Hashes of the library's code, by which a changed step is recognised.

Snakemake does not see what a script imports. Cheap rules hold the hash of their script and of
all library modules that it imports; expensive ones hold a procedure number, which only a person
moves. There is no finer grain: what a hash stands for is always a file and all that it imports.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[2]
LIBRARY = SCRIPTS / "segflow"


class _Code(NamedTuple):
    """What a file says: its syntax tree as text, what it imports, and its procedure number."""

    meaning: str
    imported: tuple[Path, ...]
    procedure: int | None


def code_key(script: str) -> str:
    """Return a hash of a script and of the library modules that it imports, at any depth.

    Comments, docstrings and layout do not count.

    Parameters
    ----------
    script : str
        Name of a script without its suffix.
    """
    return _key(SCRIPTS / f"{script}.py")


def module_key(module: str) -> str:
    """Return a hash of a library module and of those that it imports, as `code_key` does.

    Parameters
    ----------
    module : str
        Name below the library, such as ``evaluation.one_case``.
    """
    return _key(_path(module))


def procedure(module: str) -> int:
    """Return the number that a library module states as its ``PROCEDURE``.

    It is read from the text, for the modules of training and prediction are slow to import.

    Raises
    ------
    ValueError
        If the module states none.
    """
    found = _read(_path(module)).procedure
    if found is None:
        raise ValueError(f"{_path(module)}: no PROCEDURE is stated")
    return found


def procedures() -> dict[str, dict[str, int | str]]:
    """Return procedure number and code hash of every module that states one, by its name."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        if (number := _read(path).procedure) is not None:
            name = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
            found[name] = {"procedure": number, "code": _key(path)}
    return found


def imported_modules(path: Path) -> set[Path]:
    """Return the files of the library modules that a file imports, directly or through others.

    Imports within functions and those for types alone count.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        new = set(_read(waiting.pop()).imported) - found
        found |= new
        waiting += new
    return found


def _path(module: str) -> Path:
    return LIBRARY.joinpath(*module.split(".")).with_suffix(".py")


def _key(path: Path) -> str:
    names = {file.relative_to(SCRIPTS).as_posix(): file for file in (path, *imported_modules(path))}
    text = "\n".join(f"{name} {_read(names[name]).meaning}" for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(path: Path) -> _Code:
    """Return what a file says; it is parsed once for each of its states."""
    return _parse(path, path.stat().st_mtime_ns)


@cache
def _parse(path: Path, modified: int) -> _Code:
    tree = ast.parse(path.read_text())
    imported: set[Path] = set()
    number = None
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            file = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("segflow.") and file.is_file():
                imported.add(file)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROCEDURE":
            number = ast.literal_eval(node.value)
    return _Code(_text(tree), tuple(sorted(imported)), number)


def _text(node: ast.AST | list | object) -> str:
    """Return a syntax tree as text that is the same under every version of Python.

    Newer versions add fields, which are empty for older code, and leave them out of `ast.dump`.
    """
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_text(value)}"
            for name, value in ast.iter_fields(node)
            if value is not None and value != []
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(_text, node))}]" if isinstance(node, list) else repr(node)
