"""Mathematics: `$...$` in docstrings, and formulas that show without a network.

Docstrings and Markdown pages write mathematics alike. Formulas are drawn as SVG inside
the page while it is built: a reader needs no script and no font for them.
"""

from __future__ import annotations

import html
import re
import textwrap
from typing import Any

import ziamath
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

SIZE = 24.0
"""Pixels that an em has while a formula is drawn; in the page it scales with text."""

BLOCK = re.compile(r"^( *)\$\$\n(.*?)\n *\$\$$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<![\\$\w])\$([^$]+)\$(?![$\w])")

# Shapes that are spelt out take more bytes, but no two formulas share an identifier.
ziamath.config.svg2 = False


def translate_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turns `$$...$$` into math directives and `$...$` into math roles."""

    def directive(match: re.Match[str]) -> str:
        tex = textwrap.indent(textwrap.dedent(match[2]), "   ")
        return textwrap.indent(f".. math::\n\n{tex}", match[1])

    text = BLOCK.sub(directive, "\n".join(lines))
    text = INLINE.sub(r":math:`\1`", text)
    lines[:] = text.split("\n")


def visit_inline(translator: Any, node: nodes.math) -> None:
    drawn = svg(node.astext(), node, inline=True)
    translator.body.append(f'<span class="formula">{drawn}</span>')
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    tex = node.astext()
    if r"\\" in tex and r"\begin" not in tex:
        lines = " \\\\\n&".join(tex.split("\\\\"))
        tex = f"\\begin{{aligned}}&{lines}\\end{{aligned}}"
    drawn = svg(tex, node, inline=False)
    translator.body.append(f'<div class="formula">{drawn}</div>\n')
    raise nodes.SkipNode


def svg(tex: str, node: nodes.Element, inline: bool) -> str:
    """The formula as an SVG element measured in em, standing on the line."""
    tex = " ".join(tex.split())
    try:
        formula = ziamath.Latex(tex, size=SIZE, color="currentColor", inline=inline)
        drawn = formula.svg()
        # A command that the converter does not know is left as it is.
        understood = "\\" not in convert(tex)
    except Exception as error:
        drawn, understood = f"<!-- {error!r} -->", False
    if not understood:
        log = logging.getLogger(__name__)
        log.warning("this formula cannot be drawn: %s", tex, location=node)
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', drawn)
    if size is None:
        return drawn
    width, height = (float(number) / SIZE for number in size.groups())
    style = f"width: {width:.3f}em; height: {height:.3f}em"
    if inline:
        style += f"; vertical-align: {formula.getyofst() / SIZE:.3f}em"
    return drawn.replace(
        size[0], f'role="img" aria-label="{html.escape(tex)}" style="{style}"', 1
    )


def setup(app: Sphinx) -> dict[str, bool]:
    # After napoleon, which has divided the docstring into sections by then.
    app.connect("autodoc-process-docstring", translate_docstring, priority=600)
    app.add_html_math_renderer("svg", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
