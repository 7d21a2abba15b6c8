"""Hashes of the library's code, by which a changed step is recognised.

Snakemake does not see what a script imports. Cheap rules hold the hash of their script and of
all library modules that it imports; expensive ones hold a procedure number, which only a person
moves.
"""

import ast
import hashlib
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
LIBRARY = Path(__file__).parent


def code_key(script: str) -> str:
    """Return a hash of a script and of the library modules that it imports, at any depth.

    Comments, docstrings and layout do not count.

    Parameters
    ----------
    script : str
        Name of a script without its suffix.
    """
    paths = sorted({SCRIPTS / f"{script}.py", *imported_modules(SCRIPTS / f"{script}.py")})
    text = "\n".join(f"{path.name} {_meaning(path)}" for path in paths)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def module_key(module: str) -> str:
    """Return a hash of one library module, regardless of comments, docstrings and layout."""
    return hashlib.sha256(_meaning(LIBRARY / f"{module}.py").encode()).hexdigest()[:12]


def procedure(module: str) -> int:
    """Return the number that a library module states as its ``PROCEDURE``.

    It is read from the text, for the modules of training and prediction are slow to import.

    Raises
    ------
    ValueError
        If the module states none.
    """
    path = LIBRARY / f"{module}.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROCEDURE":
            return ast.literal_eval(node.value)
    raise ValueError(f"{path}: no PROCEDURE is stated")


def imported_modules(path: Path) -> set[Path]:
    """Return the files of the library modules that a file imports, directly or through others."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                module = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
                if name.startswith("segflow.") and module.is_file() and module not in found:
                    found.add(module)
                    waiting.append(module)
    return found


def _meaning(path: Path) -> str:
    """Return the syntax tree of a file without its docstrings, as text."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return _text(tree)


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
