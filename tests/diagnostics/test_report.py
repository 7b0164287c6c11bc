"""Reports can be read, plotted, stored and asserted."""

import html.parser
import importlib.util
import json

import numpy as np
import pytest

from keras_dnn.diagnostics import Chart, Finding, Report, preflight
from tests.diagnostics import networks


def finding(severity="warning", **changes):
    values = {
        "name": "vanishing",
        "severity": severity,
        "layer": "model/dense",
        "message": "It <dies> away.",
        "evidence": {"forward": 1.25e-5, "layers": 3},
        "advice": "Do & don't.",
        "see": "the guide",
    }
    return Finding(**{**values, **changes})


def report(*severities):
    chart = Chart("Loss", np.arange(3), "step", {"loss": np.ones(3)}, log=True)
    return Report("net", tuple(map(finding, severities)), ("vanishing",), (chart,))


def test_it_reads_well():
    assert str(report()) == "net: nothing found in 1 check"
    assert report("error", "note", "note").summary == "net: 1 error, 2 notes (1 check)"
    assert str(report("warning")).splitlines() == [
        "net: 1 warning (1 check)",
        "",
        "warning: vanishing in model/dense",
        "  It <dies> away.",
        "  forward = 1.25e-05, layers = 3",
        "  Do & don't.",
        "  See the guide",
    ]


def test_a_report_of_nothing_is_not_healthy():
    empty = Report("net", (), ())
    assert empty.summary == "net: nothing was checked"
    with pytest.raises(AssertionError, match="nothing was checked"):
        empty.assert_healthy()


def test_the_page_of_a_finding_without_a_reference(tmp_path):
    bare = Report("net", (finding(see=""),), ("vanishing",))
    assert "See" not in bare.to_html(tmp_path / "report.html").read_text("utf-8")


def test_it_prints(capsys):
    report("note").print()
    assert capsys.readouterr().out == f"{report('note')}\n"


def test_it_asserts():
    report().assert_healthy("note")
    report("note").assert_healthy()
    report("warning", "note").assert_healthy("error")
    with pytest.raises(AssertionError, match="1 warning") as raised:
        report("warning", "note").assert_healthy()
    assert "note" not in str(raised.value).split("(")[0]
    with pytest.raises(AssertionError, match="2 notes"):
        report("note", "note").assert_healthy("note")
    with pytest.raises(ValueError, match="severity must be"):
        report().assert_healthy("bad")


def test_it_is_ready_for_json():
    stored = json.loads(json.dumps(report("note").to_dict()))
    assert stored["findings"][0]["evidence"] == {"forward": 1.25e-5, "layers": 3}
    assert stored["charts"][0]["curves"]["loss"] == [1, 1, 1]


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.images, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        elif tag not in ("meta", "link"):
            self.open.append(tag)
        assert tag not in ("link", "script")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_no_other_file(tmp_path):
    path = report("error", "note").to_html(tmp_path / "report.html")
    page = Page()
    page.feed(path.read_text("utf-8"))
    assert not page.open
    assert len(page.images) == 1
    assert page.images[0].startswith("data:image/png;base64,iVBOR")
    assert "It <dies> away." in page.text
    assert "forward = 1.25e-05" in page.text


def test_the_page_has_no_plots_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = report("error").to_html(tmp_path / "report.html")
    assert "<img" not in path.read_text("utf-8")


def test_the_charts_of_preflight_are_drawn(tmp_path):
    model = networks.network(depth=6)
    found = preflight(model, *networks.digits(), verbose=0)
    axes = found.plot().axes
    labels = [label.get_text() for label in axes[0].get_xticklabels()]
    assert labels == [layer.name for layer in model.layers]
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["Forward signal by layer", "Gradient by layer"]
    with pytest.raises(ValueError, match="nothing to plot"):
        Report("net", (), ()).plot()
