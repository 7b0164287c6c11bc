"""Every check is explained by the installed package, without the repository."""

import re
import runpy
import sys

import pytest

from keras_dnn.diagnostics import Finding, Report
from keras_dnn.diagnostics._explanations import PAGE, command, explanations


def finding(name="vanishing", **changes):
    values = {"see": command(name), **changes}
    return Finding(name, "warning", None, "It dies away.", {}, "Use ReLU.", **values)


def test_the_text_is_that_of_the_page_without_its_syntax():
    text = explanations()["nonfinite-values"]
    assert "is reported as exploding." in text.replace("\n", " ")
    assert "[exploding](#exploding)" in PAGE.read_text("utf-8")
    assert not [t for t in explanations().values() if re.search(r"\]\(|\{\w+", t)]


def test_a_finding_of_ones_own_check_says_where_it_is_explained():
    assert finding().explain() == explanations()["vanishing"]
    assert finding(see="https://example.com").explain() == "https://example.com"
    assert finding("mine").explain() == "python -m keras_dnn.diagnostics mine"


def test_the_page_of_a_report_holds_the_explanation(tmp_path):
    found = (finding(), finding("mine", see="my <page>"), finding(see=""))
    path = Report("net", found, ("vanishing",)).to_html(tmp_path / "report.html")
    page = path.read_text("utf-8")
    assert page.count("<details>") == 1
    assert explanations()["vanishing"][:40] in page
    assert "See <code>my &lt;page&gt;</code>" in page


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [(["vanishing"], explanations()["vanishing"]), ([], "\ntiny-batch\n")],
)
def test_the_command_prints_it(monkeypatch, capsys, arguments, printed):
    module = finding().see.split()[2]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)
    runpy.run_module(module, run_name="__main__")
    assert printed in capsys.readouterr().out


def test_the_command_refuses_what_it_does_not_know(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diagnostics", "vanished"])
    monkeypatch.delitem(sys.modules, "keras_dnn.diagnostics.__main__", raising=False)
    with pytest.raises(SystemExit, match="name must be that of a check"):
        runpy.run_module("keras_dnn.diagnostics", run_name="__main__")
