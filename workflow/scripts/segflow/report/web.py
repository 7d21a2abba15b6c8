"""Small HTML pages for the report."""

from collections.abc import Iterable
from html import escape

import pandas as pd

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 92rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { max-width: 56rem; color: #444; margin: .4rem 0; }
div { overflow-x: auto; }
table { border-collapse: collapse; min-width: 50%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { border-bottom: 2px solid #999; font-weight: 600; vertical-align: bottom; }
td { border-top: 1px solid #ececec; }
td.same { border-top-color: transparent; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
td:first-child { min-width: 11rem; max-width: 26rem; white-space: normal; }
small { display: block; color: #666; font-size: .8rem; line-height: 1.3; }
tr:hover td { background: #f5f8fc; }
tr.published td { background: #faf6ec; }
"""


def page(title: str, tables: dict[str, pd.DataFrame], notes: Iterable[str] = ()) -> str:
    """Return a page with one table under each heading.

    Parameters
    ----------
    title : str
        Title of the page.
    tables : dict of str to DataFrame
        Tables by heading, in their order; the first two columns hold text. What follows the first
        line of a cell, or of a column's name, is small. A row whose index is a word has this word
        as its class.
    notes : iterable of str
        Paragraphs below the title.
    """
    parts = [f"<p>{escape(note)}</p>" for note in notes]
    parts += [f"<h2>{escape(name)}</h2>{_table(table)}" for name, table in tables.items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )


def _table(table: pd.DataFrame) -> str:
    """Return a table; a first cell that says the same as the one above is left empty."""
    head = "".join(_cell(name, "th") for name in table.columns)
    rows, above = [], None
    for kind, (first, *rest) in zip(table.index, table.to_numpy(object), strict=True):
        name = f' class="{escape(kind)}"' if isinstance(kind, str) and kind else ""
        start = '<td class="same"></td>' if first == above else _cell(first)
        rows.append(f"<tr{name}>{start}{''.join(map(_cell, rest))}</tr>")
        above = first
    return f"<div><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _cell(value: object, tag: str = "td") -> str:
    first, *rest = str(value).split("\n")
    small = "".join(f"<small>{escape(line)}</small>" for line in rest)
    return f"<{tag}>{escape(first)}{small}</{tag}>"
