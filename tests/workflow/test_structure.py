"""Names that belong together: rules, scripts, modules, logs and the page about them."""

import re

import pytest

from project import ROOT
from segflow.files.code import LIBRARY, _path, imported_modules

RULES = {
    match[1]: match[2]
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for match in re.finditer(
        r"\n *rule (\w+):\n(.*?)(?=\n\n\n|\n\n +rule |\n\nelif|\Z)", path.read_text(), re.DOTALL
    )
}
SCRIPTS = sorted(path.stem for path in (ROOT / "workflow/scripts").glob("*.py"))


def test_every_rule_has_a_script_of_its_name():
    assert (
        sorted([*RULES, "draft_dataset", "run_demonstration", "show_machine", "show_status"])
        == SCRIPTS
    )


@pytest.mark.parametrize("name", RULES)
def test_a_rule_tracks_its_code_and_writes_where_its_name_says(name):
    text = RULES[name]
    assert f"/{name}" in re.search(r"log:\s+\"(.*)\"", text)[1]
    assert f"/{name}" in re.search(r"benchmark:\s+\"(.*)\"", text)[1]
    assert "conda:" in text
    assert "mem_mb=" in text
    assert "runtime=" in text
    if "script:" in text:
        assert f"/{name}.py" in text
        assert f'code=code_key("{name}")' in text
    else:
        assert re.search(rf'shell:\s+": > {{log:q}}; "\s+"python -m {name} ', text)
        assert ">> {log:q} 2> >(tee -a {log:q} >&2)" in text
        module = re.search(r'procedure=procedure\("([\w.]+)"\)', text)[1]
        script = ROOT / "workflow/scripts" / f"{name}.py"
        assert _path(module) in imported_modules(script)


def test_the_architecture_shows_every_rule_and_every_package():
    page = (ROOT / "docs/architecture.md").read_text()
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == packages
    picture = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)[1]
    shown = set(re.findall(r"[a-z]+(?:_[a-z]+)+", picture))
    assert shown == set(RULES) - {"discard_probabilities"}


def test_figures_and_tables_have_captions():
    captions = {path.name for path in (ROOT / "workflow/report").glob("*.rst")}
    used = set(re.findall(r"workflow/report/(\w+\.rst)", "".join(RULES.values())))
    assert captions == used | {"workflow.rst"}
