"""A report as one self-contained page, readable on a phone."""

from __future__ import annotations

import base64
import importlib.util
import io
from html import escape
from typing import TYPE_CHECKING

from keras_dnn.diagnostics.finding import Finding, evidence, in_one_line, when

if TYPE_CHECKING:
    from keras_dnn.diagnostics.report import Report

WIDTH, HEIGHT = 4.2, 2.4
"""Size of a chart in inches."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 0 auto;
       padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: .5rem 0; }
article { border: 1px solid var(--line); border-left: .4rem solid; margin: 1rem 0;
          border-radius: .3rem; padding: .6rem 1rem; }
article h2 { font-size: 1.05rem; margin: 0; }
article p { margin: .4rem 0; }
.error { border-left-color: #c62828; }
.warning { border-left-color: #d1711c; }
.note { border-left-color: #2066a8; }
.tag { font-size: .8rem; text-transform: uppercase; letter-spacing: .05em; }
code { background: var(--soft); padding: .1rem .3rem; border-radius: .2rem; }
.numbers, footer { font-size: .9rem; opacity: .8; }
img { display: block; width: 100%; max-width: 36rem; height: auto; margin: 1rem auto;
      background: white; border-radius: .3rem; }
"""


def page(report: Report, plot: str) -> str:
    """The HTML of the page.

    Args:
        report: what to show.
        plot: its charts as a PNG file in base64, or empty.
    """
    image = f'<img alt="charts" src="data:image/png;base64,{plot}">'
    checked = ", ".join(map(escape, report.checked))
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(report.summary)}</h1>",
            *map(_article, report.findings),
            *(f"<p>{escape(in_one_line(past))}</p>" for past in report.passed),
            image if plot else "",
            f"<footer><p>Checked: {checked}.</p></footer>",
            "</body></html>",
        ]
    )


def _article(finding: Finding) -> str:
    place = f" in <code>{escape(finding.layer)}</code>" if finding.layer else ""
    numbers = f'<p class="numbers">{escape(evidence(finding))}</p>'
    return "\n".join(
        [
            f'<article class="{finding.severity}">',
            f'<span class="tag">{finding.severity}</span>',
            f"<h2>{escape(finding.name)}{place}{when(finding)}</h2>",
            f"<p>{escape(finding.message)}</p>",
            numbers if finding.evidence else "",
            f"<p><strong>{escape(finding.advice)}</strong></p>",
            _explained(finding),
            "</article>",
        ]
    )


def _explained(finding: Finding) -> str:
    """Where the check is explained, and what is said there if it is at hand."""
    if not finding.see:
        return ""
    text = finding.explain()
    see = f"See <code>{escape(finding.see)}</code>"
    if text == finding.see:
        return f'<p class="numbers">{see}</p>'
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n"))
    return f"<details><summary>About this check</summary>{paragraphs}</details>"


def plot_of(report: Report) -> str:
    """The report's charts in base64; empty without charts or without matplotlib."""
    if not report.charts:
        return ""
    if importlib.util.find_spec("matplotlib") is None:
        return ""
    from keras_dnn.plotting._matplotlib import close

    figure = report.plot()
    # It is shown as wide as a phone's screen: letters are large on a small figure.
    figure.set_size_inches(WIDTH, HEIGHT * len(report.charts))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=200)
    close(figure)
    return base64.b64encode(stream.getvalue()).decode("ascii")
