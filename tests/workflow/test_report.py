"""The report in a real browser: it opens as a file, and everything on it works."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import make_report
import rank_predictors
from browser import browsing, find_browser
from project import N_TEST, N_TRAINING

pytestmark = pytest.mark.slow
in_a_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
PREDICTORS = ["tiny_2d", "tiny_3d", "both"]
SHOWN = "viewer && viewer.shown && viewer.content && viewer.status.textContent.endsWith('.')"


def write_page(results, datasets=("hippocampus",)):
    """Write the report as the rule does, on some data sets, from what the run has recorded."""
    record = json.loads((results / "run.json").read_text())
    described = record["datasets"]["hippocampus"]
    make_report.main(
        results=results,
        config=yaml.safe_load((results / "config.yaml").read_text()),
        datasets={name: described | {"title": name.capitalize()} for name in datasets},
        models=record["models"],
        titles={name: name.replace("_", " ") for name in PREDICTORS},
        members={"tiny_2d": ["tiny_2d"], "tiny_3d": ["tiny_3d"], "both": PREDICTORS[:2]},
        class_titles={name: {} for name in datasets},
        report=results / "report.html",
    )
    return results / "report.html"


@pytest.fixture
def page(tmp_path):
    with browsing(tmp_path / "profile") as page:
        page.resize(1300, 900)
        yield page


def data_of(path):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    return json.loads(text[1])


def test_plots_draw_what_the_tables_say(finished):
    data = data_of(finished.results / "report.html")["datasets"]["hippocampus"]
    folder = finished.results / "hippocampus"
    metrics = pd.read_csv(folder / "both/metrics.csv")
    chosen = metrics[(metrics["split"] == "val") & (metrics["stage"] == "raw")]
    wide = chosen.pivot(index="case", columns="label", values="dice")
    part = data["splits"]["val"]
    assert part["cases"] == list(wide.index)
    drawn = part["values"]["both"]["raw"]
    np.testing.assert_allclose(drawn["anterior"]["dice"], wide["anterior"], rtol=1e-4)
    np.testing.assert_allclose(drawn["all"]["dice"], wide.mean(axis=1), rtol=1e-4)
    summary = pd.read_csv(folder / "summary.csv").set_index(
        ["predictor", "split", "stage", "fold", "label", "metric"]
    )
    box = data["boxes"]["both|val|raw|all|dice"]
    row = summary.loc[("both", "val", "raw", "all", "all", "dice")]
    np.testing.assert_allclose(box, row[["min", "q1", "median", "q3", "max"]].tolist(), rtol=1e-4)


def test_the_first_screen_says_what_was_found(finished):
    text = (finished.results / "report.html").read_text()
    best = json.loads((finished.results / "hippocampus/best.json").read_text())
    answer = re.search(r'<p class="answer">(.*?)</p>', text)[1]
    assert f"{best['in_sample']['mean']:.3f}" in answer
    assert "of 3 predictors" in answer
    assert 'href="workflow_report.html"' in text
    assert "Snakemake" in (finished.results / "workflow_report.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', text)


@in_a_browser
def test_everything_on_the_page_works_without_a_network(finished, page, tmp_path):
    alone = tmp_path / "elsewhere" / "report.html"
    alone.parent.mkdir()
    shutil.copy2(finished.results / "report.html", alone)
    page.open(alone)
    assert page.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    assert page.run("document.images.length") > 5
    assert page.run("document.documentElement.scrollWidth <= innerWidth")

    # Tables sort, missing values last, and show what is asked for.
    table = "document.querySelector('table.cases')"
    column = f"[...{table}.tBodies[0].rows].map((row) => row.cells[2].textContent)"
    for way in (1, -1):
        page.run(f"{table}.tHead.rows[0].cells[2].querySelector('button').click()")
        values = [float(text) for text in page.run(column)]
        assert len(values) == N_TRAINING
        assert values == sorted(values, reverse=way < 0)
    first = page.run(f"{table}.tBodies[0].rows[0].cells[0].textContent")
    page.run(
        "(() => { const box = document.querySelector('[data-part=cases] input[type=search]');"
        f" box.value = '{first}'; box.dispatchEvent(new Event('input')); }})()"
    )
    assert page.run(f"[...{table}.tBodies[0].rows].filter((row) => !row.hidden).length") == 1

    # Plots have a point for each case, which names it.
    points = "document.querySelectorAll('svg.boxes .point')"
    assert page.run(f"{points}.length") == N_TRAINING * len(PREDICTORS)
    page.run("document.querySelector('svg.boxes').scrollIntoView({ block: 'center' })")
    x, y = page.run(
        f"(() => {{ const box = {points}[3].getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait("!document.querySelector('.tip').hidden")
    assert page.run("document.querySelector('.tip').textContent").startswith("hippocampus_")
    page.run(
        "(() => { const choose = document.querySelector('[data-part=boxes] select');"
        " choose.value = 'test'; choose.dispatchEvent(new Event('change')); })()"
    )
    assert page.run(f"{points}.length") == N_TEST * len(PREDICTORS)
    assert page.run("document.querySelectorAll('svg.pairs .point').length") == N_TRAINING

    # A click on a case opens it; keys go through slices and cases.
    page.run(f"{table}.querySelector('button.case').click()")
    page.wait(SHOWN)
    name = page.run("viewer.name")
    assert name == f"hippocampus/{first}"
    assert page.run("document.querySelectorAll('dialog canvas').length") == 3
    picture = "document.querySelector('dialog canvas').toDataURL()"
    place = page.run("viewer.place[0]")
    before = page.run(picture)
    page.run("document.querySelector('dialog canvas').focus()")
    page.press("ArrowUp")
    assert page.run("viewer.place[0]") == place + 1
    after = page.run(picture)
    assert after != before
    seen = {after}
    for step in (
        "[...document.querySelectorAll('dialog input[type=checkbox]')].at(-1).click()",  # differ
        "document.querySelector('dialog input[type=checkbox]').click()",  # no reference
        "[...document.querySelectorAll('dialog input[type=checkbox]')][1].click()",  # another
        "viewer.panes[0].magnify(2)",
    ):
        page.run(step)
        page.wait(f"({json.dumps(sorted(seen))}).indexOf({picture}) < 0")
        seen.add(page.run(picture))
    x, y, width, height = page.run(
        "(() => { const box = document.querySelectorAll('dialog canvas')[1]"
        ".getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()"
    )
    place = page.run("viewer.place[1]")
    page.call(
        "Input.dispatchMouseEvent",
        **{"type": "mouseWheel", "x": x + width / 2, "y": y + height / 2},
        **{"deltaX": 0, "deltaY": -100},
    )
    page.wait(f"viewer.place[1] === {place - 1}")
    page.press("ArrowRight")
    page.wait(f"viewer.name !== '{name}' && {SHOWN}")
    page.run("document.querySelector('dialog .bar button:last-child').click()")
    assert not page.run("viewer.dialog.open")
    assert page.complaints == []
    outside = [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []


@in_a_browser
def test_every_case_can_be_looked_at_as_its_files_are(finished, page):
    """What the viewer holds of each case is what the label maps hold."""
    import SimpleITK as sitk

    page.open(finished.results / "report.html")
    scripts = page.run("Object.keys(DATA.scripts)")
    assert len(scripts) == N_TRAINING + N_TEST
    folder = finished.results / "hippocampus/both/predictions"
    for name in scripts:
        counts = page.run(
            f"loadCase('{name}').then(async (found) => {{ const voxels = await decodeMap(found,"
            " 'both/postprocessed'); return [0, 1, 2].map((label) =>"
            " voxels.reduce((sum, one) => sum + (one === label), 0)); })"
        )
        case = name.split("/")[1]
        (path,) = folder.glob(f"*/postprocessed/{case}.nii.gz")
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert counts == np.bincount(values.ravel(), minlength=3).tolist()
    assert page.complaints == []


@in_a_browser
def test_cases_beside_the_page_are_found_or_said_to_be_missing(
    project, page, tmp_path, monkeypatch
):
    monkeypatch.setattr(make_report, "INLINE_MB", 0)
    path = write_page(project.results)
    page.open(path)
    inside = page.run("document.querySelectorAll('script[id^=\"case:\"]').length")
    assert 1 <= inside <= 3  # best, median and worst
    beside = page.run(
        "Object.keys(DATA.scripts).find((name) => !document.getElementById(`case:${name}`))"
    )
    page.run(f"openViewer('{beside}')")
    page.wait(SHOWN)
    assert page.complaints == []
    alone = shutil.copy2(path, tmp_path / "alone.html")
    page.open(alone, f"#case={beside}")
    page.wait("viewer && viewer.status.textContent.includes('is not beside this page')")


@in_a_browser
def test_several_data_sets_have_ranks_and_a_heat_map(project, page):
    """The same results under two names: the page is about how they are shown."""
    results = project.results
    shutil.copytree(results / "hippocampus", results / "second")
    text = (results / "hippocampus/viewer.csv").read_text()
    (results / "second/viewer.csv").write_text(text.replace("hippocampus/viewer", "second/viewer"))
    rank_predictors.main(
        {name: results / name / "summary.csv" for name in ("hippocampus", "second")},
        {name: name for name in PREDICTORS},
        results / "ranking.csv",
        results / "ranking.png",
    )
    page.open(write_page(results, ["hippocampus", "second"]))
    study = page.run("document.querySelector('#study').innerText")
    ranking = pd.read_csv(results / "ranking.csv")
    chosen = ranking[ranking["split"] == "val"].iloc[0]
    assert f"gives p = {chosen['p']:.3g}" in study
    heat = "document.querySelector('table.heat')"
    assert page.run(f"{heat}.tBodies[0].rows.length") == 2
    summary = pd.read_csv(results / "second/summary.csv")
    means = summary[
        (
            summary[["split", "stage", "fold", "label", "metric"]]
            == ["val", "postprocessed", "all", "all", "dice"]
        ).all(axis=1)
    ].set_index("predictor")["mean"]
    shown = page.run(f"[...{heat}.tBodies[0].rows[1].cells].map((cell) => cell.textContent)")
    assert shown == ["Second", *(f"{means[name]:.3f}" for name in PREDICTORS)]
    assert page.run("document.querySelectorAll('article[data-name] svg.boxes').length") == 2
    assert page.complaints == []


def luminance(colour):
    """Return the relative luminance of a colour as WCAG defines it."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark_and_on_a_narrow_screen(finished, page, dark):
    page.resize(400, 800, dark)
    page.open(finished.results / "report.html")
    assert page.run("document.documentElement.scrollWidth <= innerWidth + 1")
    background = "getComputedStyle(document.body).backgroundColor"
    assert (luminance(page.run(background)) < 0.2) is dark
    for text in ("body", ".soft", "nav a", "td small", "summary", "button", ".answer"):
        ink = page.run(f"getComputedStyle(document.querySelector('{text}')).color")
        pair = sorted([luminance(ink), luminance(page.run(background))])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, text
    assert page.complaints == []
