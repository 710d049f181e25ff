"""One page that needs nothing but itself: no script runs, nothing is fetched, pictures and sounds are inside."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple, TypeAlias

Found: TypeAlias = tuple[str, dict[str, Any]]  # what fills a section: its body and numbers
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --quiet: #5b6672; --paper: #fdfdfc; --rule: #d9dde2;
  --good: #1f7a4d; --bad: #b3451d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --quiet: #9aa5b1; --paper: #14181d;
  --rule: #333b45; --good: #5cc08d; --bad: #ee8f5f; } .plot { filter: invert(1) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 58rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
p { margin: .5rem 0; max-width: 46rem; }
.quiet, figcaption, caption { color: var(--quiet); font-size: .875rem; }
figure { margin: .75rem 0; min-width: 0; }
figure img { display: block; max-width: 100%; height: auto; }
.plot { border: 1px solid #8886; }
figure svg { display: block; width: 100%; max-width: 38rem; height: auto; }
.cards { display: grid; gap: .25rem 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.wide { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.pair { display: grid; gap: 0 .5rem; grid-template-columns: 1fr 1fr; } .pair figure { margin: .25rem 0; }
audio { display: block; width: 100%; height: 2.25rem; }
.marks { display: grid; gap: .75rem; margin: 1rem 0 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 12rem), 1fr)); }
.marks li { border: 1px solid var(--rule); border-radius: .5rem; padding: .75rem; }
.marks strong { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.passed, .missed { display: block; } .passed { color: var(--good); } .missed { color: var(--bad); }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child, td.words { text-align: left; }
tbody th { font-weight: 500; }
td:not(.words) { white-space: nowrap; }
td.words { overflow-wrap: anywhere; min-width: 9rem; }
.number { white-space: nowrap; }
"""


class Section(NamedTuple):
    """A part of the page.

    name: its anchor and its key among the numbers. title: for readers. body: HTML. numbers: what it measured, as
    plain values; None where it could not, and then the body says why.
    """

    name: str
    title: str
    body: str
    numbers: dict[str, Any] | None


class Mark(NamedTuple):
    """A headline number: what, how much, in words, and whether it is good enough (None: no mark is set)."""

    name: str
    value: str
    words: str
    passed: bool | None


def digits(value: float) -> str:
    """A number as a reader wants it: three digits, or all that stand before the point.

    Example:
        >>> digits(1.2), digits(521.4), digits(3745.2), digits(-0.0003573)
        ('1.20', '521', '3,745', '-0.000357')
    """
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:#.3g}".rstrip(".")


def prose(text: str, *, quiet: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p{' class=quiet' if quiet else ''}>{_told(text)}</p>"


def picture(png: bytes, alt: str, caption: str = "", *, plot: bool = False) -> str:
    """A PNG inside the page, with its words for those who do not see it; of a plot, the paper may be dark.

    Example:
        >>> picture(b"...", alt="three <dots>")
        '<figure><img src="data:image/png;base64,Li4u" alt="three &lt;dots&gt;"></figure>'
    """
    data = base64.b64encode(png).decode()
    kind = ' class="plot"' if plot else ""
    return f'<figure><img{kind} src="data:image/png;base64,{data}" alt="{escape(alt)}">{_caption(caption)}</figure>'


def player(wav: bytes, alt: str, caption: str = "") -> str:
    """A sound inside the page, to be played, with its words for those who do not hear it.

    Example:
        >>> player(b"...", alt="a drum")
        '<figure><audio controls src="data:audio/wav;base64,Li4u" aria-label="a drum"></audio></figure>'
    """
    data = base64.b64encode(wav).decode()
    sound = f'<audio controls src="data:audio/wav;base64,{data}" aria-label="{escape(alt)}"></audio>'
    return f"<figure>{sound}{_caption(caption)}</figure>"


def drawing(svg: str, alt: str, caption: str = "") -> str:
    """An SVG inside the page, in the colours of the page."""
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
    return f"<figure>{named}{_caption(caption)}</figure>"


def cards(figures: Iterable[str], *, wide: bool = False) -> str:
    """Figures side by side, as many as there is room for."""
    return f'<div class="cards{" wide" if wide else ""}">{"".join(figures)}</div>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """Numbers in columns, or words beside their names; the first column names the row."""

    def row(cells: Sequence[str]) -> str:
        kind = ' class="words"' if words else ""
        rest = "".join(f"<td{kind}>{_told(cell)}</td>" for cell in cells[1:])
        return f'<tr><th scope="row">{_told(cells[0])}</th>{rest}</tr>'

    top = "".join(f'<th scope="col">{_told(cell)}</th>' for cell in head)
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    body = "".join(map(row, rows))
    return f'<div class="scroll"><table><caption>{_told(caption)}</caption>{top}<tbody>{body}</tbody></table></div>'


def marks(values: Iterable[Mark]) -> str:
    """The headline numbers, each with its verdict in words as well as in colour."""
    verdicts = {True: '<span class="passed">✓ passed</span>', False: '<span class="missed">✗ missed</span>', None: ""}
    items = (
        f"<li>{escape(mark.name)}<strong>{_told(mark.value)}</strong>"
        f'<span class="quiet">{_told(mark.words)}</span>{verdicts[mark.passed]}</li>'
        for mark in values
    )
    return f'<ul class="marks">{"".join(items)}</ul>'


def page(title: str, lead: str, sections: Iterable[Section], numbers: Mapping[str, Any]) -> str:
    """The whole file; the numbers are in it a second time, as JSON for programs.

    Args:     title: plain text.
              lead: HTML that opens the page.
              sections: in the order of reading.
              numbers: plain values; a NaN or an infinity becomes null.
    """
    parts = "".join(
        f'<section id="{escape(part.name)}"><h2>{escape(part.title)}</h2>{part.body}</section>' for part in sections
    )
    data = json.dumps(numbers, allow_nan=False).replace("<", "\\u003c")  # no text may close the script
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>{lead}{parts}</main>\n"
        f'<script type="application/json" id="numbers">{data}</script></body></html>\n'
    )


def _caption(text: str) -> str:
    return f"<figcaption>{_told(text)}</figcaption>" if text else ""


def _told(text: str) -> str:
    """Plain text as HTML, in which no line ends within a number: 1e-09 has a hyphen to break at."""
    return re.sub(r"\d[\d.]*e[-+]\d+", r'<span class="number">\g<0></span>', escape(text))
