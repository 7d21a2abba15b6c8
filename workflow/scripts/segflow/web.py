"""Small HTML pages for the report."""

from html import escape

import pandas as pd

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th { border-bottom: 2px solid #999; font-weight: 600; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
tr:hover td { background: #f5f8fc; }
"""


def page(title: str, tables: dict[str, pd.DataFrame]) -> str:
    """Return a page with one table under each heading.

    Parameters
    ----------
    title : str
        Title of the page.
    tables : dict of str to DataFrame
        Tables by heading, in their order; the first two columns hold text.
    """
    parts = [
        f"<h2>{escape(heading)}</h2>{table.to_html(index=False, border=0)}"
        for heading, table in tables.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )
