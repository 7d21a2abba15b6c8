import pandas as pd
import pytest

from segflow.report.web import page

NASTY = "<script>alert('a & b')</script>"


@pytest.mark.parametrize("place", ["title", "heading", "column", "cell"])
def test_nothing_from_the_data_becomes_markup(place):
    parts = dict.fromkeys(["title", "heading", "column", "cell"], "plain") | {place: NASTY}
    found = page(
        parts["title"], {parts["heading"]: pd.DataFrame({parts["column"]: [parts["cell"]]})}
    )
    assert "<script>" not in found
    assert "&lt;script&gt;" in found
    assert "a &amp; b" in found


def test_tables_keep_their_order():
    tables = {name: pd.DataFrame({"n": [number]}) for number, name in enumerate("bca")}
    found = page("Title", tables)
    places = [found.index(f"<h2>{name}</h2>") for name in tables]
    assert places == sorted(places)
    assert found.count("<table") == 3
    assert found.startswith("<!doctype html>")


def test_a_page_needs_nothing_from_elsewhere():
    found = page("Title", {"Heading": pd.DataFrame({"n": [1]})})
    assert "http" not in found
    assert "src=" not in found
