import pytest

from segflow.files import code
from segflow.files.code import code_key, imported_modules, module_key, procedure, procedures

LEAF = '''"""Leaf."""

PROCEDURE = 4


def f(n):
    """Add."""
    return n + 1
'''


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Return a small project: the script uses `middle`, which uses `leaf`; `other` is unused."""
    files = {
        "script.py": "import numpy\nfrom segflow.middle import work\nwork(3)\n",
        "segflow/middle.py": "from segflow import leaf\n\n\ndef work(n):\n    return leaf.f(n)\n",
        "segflow/leaf.py": LEAF,
        "segflow/other.py": "import segflow.leaf\n",
    }
    (tmp_path / "segflow").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "SCRIPTS", tmp_path)
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "segflow")
    return tmp_path


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Leaf."""\n', ""),
        ('"""Add."""', '"""Add one to `n`."""'),
        ("    return", "    # one more\n    return"),
        ("n + 1", "(n\n        + 1)"),
        ("\n\n\n", "\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(scripts, old, new):
    before = module_key("leaf"), code_key("script")
    edit(scripts / "segflow" / "leaf.py", old, new)
    assert (module_key("leaf"), code_key("script")) == before


@pytest.mark.parametrize(("old", "new"), [("n + 1", "n + 2"), ("n + 1", "n + 1.0"), ("4", "5")])
def test_a_changed_number_counts_at_any_depth(scripts, old, new):
    before = module_key("leaf"), code_key("script")
    edit(scripts / "segflow" / "leaf.py", old, new)
    assert module_key("leaf") != before[0]
    assert code_key("script") != before[1]


def test_the_script_itself_counts_and_unused_modules_do_not(scripts):
    before = code_key("script")
    edit(scripts / "segflow" / "other.py", "leaf", "middle")
    assert code_key("script") == before
    edit(scripts / "script.py", "3", "4")
    assert code_key("script") != before


def test_imports_are_followed(scripts):
    library = scripts / "segflow"
    assert imported_modules(scripts / "script.py") == {library / "middle.py", library / "leaf.py"}
    assert imported_modules(library / "other.py") == {library / "leaf.py"}
    assert imported_modules(library / "leaf.py") == set()


def test_imports_in_a_circle_end(scripts):
    library = scripts / "segflow"
    edit(library / "leaf.py", "PROCEDURE", "import segflow.middle\nPROCEDURE")
    assert imported_modules(library / "leaf.py") == {library / "middle.py", library / "leaf.py"}


def test_procedure_reads_the_number(scripts):
    assert procedure("leaf") == 4
    with pytest.raises(ValueError, match=r"other\.py: no PROCEDURE is stated"):
        procedure("other")


def test_the_key_does_not_depend_on_the_version_of_python(scripts):
    """Python 3.12 gave functions a new field, which is empty here."""
    assert module_key("leaf") == "777b64379a02"


def test_a_module_counts_with_all_that_it_imports(scripts):
    before = module_key("middle")
    edit(scripts / "segflow" / "leaf.py", "n + 1", "n + 2")
    assert module_key("middle") != before


def test_imports_for_types_alone_and_within_functions_count(scripts):
    library = scripts / "segflow"
    edit(library / "leaf.py", "    return", "    import segflow.other\n    return")
    assert library / "other.py" in imported_modules(scripts / "script.py")


def test_all_procedures_are_found_with_the_key_of_their_code(scripts):
    assert procedures() == {"leaf": {"procedure": 4, "code": module_key("leaf")}}


def test_a_file_is_parsed_once_for_all_that_import_it(scripts, monkeypatch):
    parsed = []
    parse = code.ast.parse
    monkeypatch.setattr(code.ast, "parse", lambda text: parsed.append(text) or parse(text))
    for _ in range(3):
        code_key("script")
        module_key("middle")
        procedures()
    assert len(parsed) == len(set(parsed)) == 4


@pytest.mark.parametrize(("converter", "needs"), [("busi", "_pairing"), ("msd", "nnunet")])
def test_a_converter_counts_with_the_converters_that_it_imports(converter, needs):
    folder = code.LIBRARY / "datasets/converters"
    assert folder / f"{needs}.py" in imported_modules(folder / f"{converter}.py")


@pytest.mark.parametrize("module", ["evaluation.one_case", "predictors.components"])
def test_what_is_kept_for_each_case_depends_on_what_measures_not_on_how_jobs_work(module):
    names = {
        path.relative_to(code.LIBRARY).parts[0]
        for path in imported_modules(code.LIBRARY.joinpath(*module.split(".")).with_suffix(".py"))
    }
    assert "images" in names
    assert not names & {"jobs", "run"}
