import sys

import pytest

from segflow.files.late_imports import loaded_late, replaced

LIBRARY = """
loads = []
"""
FIRST = """
import late_library_log
late_library_log.loads.append("first")
VALUE = 5
def double(number):
    return 2 * number
"""
USER = """
import late_library as whole
from late_library import double
"""


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """Put libraries on the path and return the list of what was loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "late_library_log": LIBRARY,
        "late_library": FIRST,
        "late_user": USER,
        "late_other": USER,
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    import late_library_log

    yield late_library_log.loads
    for name in files:
        sys.modules.pop(name, None)


MODULES = {"late_library": ("double",)}


def test_a_module_is_loaded_when_it_is_used(loads):
    with loaded_late(MODULES):
        import late_other  # noqa: F401
        import late_user
    assert "late_library" not in sys.modules
    assert loads == []
    assert late_user.whole.VALUE == 5
    assert loads == ["first"]


def test_a_function_loads_its_module_when_it_is_called(loads):
    with loaded_late(MODULES):
        from late_user import double
    assert loads == []
    assert double(4) == 8
    assert double(number=5) == 10
    assert loads == ["first"]


def test_a_module_that_is_used_at_once_is_loaded_at_once(loads):
    with loaded_late(MODULES):
        import late_library

        assert late_library.VALUE == 5
    assert sys.modules["late_library"].VALUE == 5
    assert loads == ["first"]


def test_an_import_after_the_block_is_the_module_itself(loads):
    with loaded_late(MODULES):
        import late_user  # noqa: F401
    import late_library

    assert late_library.__file__.endswith("late_library.py")
    assert loads == ["first"]


def test_a_module_that_was_loaded_before_stays(loads):
    import late_library

    with loaded_late(MODULES):
        import late_user
    assert late_user.whole is late_library
    with replaced("late_library", None):
        import late_library as again
    assert again is late_library


def test_a_missing_name_of_a_late_module_is_an_error(loads):
    with loaded_late(MODULES):
        import late_user
    with pytest.raises(AttributeError, match="nothing"):
        late_user.whole.nothing  # noqa: B018


def test_a_module_may_seem_not_to_be_installed(loads):
    with replaced("late_library", None), pytest.raises(ModuleNotFoundError):
        import late_user  # noqa: F401
    import late_library

    assert late_library.VALUE == 5
