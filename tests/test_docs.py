"""Every example in the documentation runs, as a reader would run it.

A page is one namespace, its blocks in their order; a docstring is one by itself.
Both start empty: an example imports what it uses, so that it can be pasted.
"""

import re
from pathlib import Path

import keras
import pytest
from sybil import Document
from sybil.document import PythonDocStringDocument
from sybil.parsers import markdown, rest
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parent.parent
BUILT = {"_build", "auto_examples", "generated"}
PARSERS = {
    ".md": [markdown.PythonCodeBlockParser()],
    ".rst": [rest.PythonCodeBlockParser(), DocTestParser()],
}
PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*")
        if page.suffix in PARSERS and not BUILT.intersection(page.parts)
    ),
]
PAGES_WITH_EXAMPLES = (
    "README.md",
    "docs/index.md",
    "docs/api/optimizers/adam.rst",
    "docs/guides/a_good_default.md",
    "docs/guides/choosing_a_loss.md",
    "docs/guides/choosing_an_optimizer.md",
    "docs/guides/differences.md",
    "docs/guides/first_steps.md",
    "docs/guides/folding_batch_norms.md",
    "docs/guides/learning_rate.md",
    "docs/guides/many_classes.md",
    "docs/guides/reusing_layers.md",
    "docs/guides/searching_and_comparing.md",
    "docs/guides/several_workers.md",
    "docs/guides/shipping_a_fast_model.md",
    "docs/guides/what_the_model_does_not_know.md",
    "docs/guides/writing_a_probe.md",
    "docs/guides/writing_model_surgery.md",
)


def docstrings() -> dict[str, Document]:
    """The docstrings with examples in them, by file and line."""
    found = {}
    for path in sorted((ROOT / "keras_dnn").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for start, _, text in PythonDocStringDocument.extract_docstrings(source):
            if ">>>" not in text:
                continue
            # Blank lines above, so that a failure names the line in the file.
            above = source.count("\n", 0, start)
            document = Document("\n" * above + text, str(path))
            for region in DocTestParser()(document):
                document.add(region)
            found[f"{name(path)}:{above + 1}"] = document
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What an example writes must not land in the repository.
    monkeypatch.chdir(tmp_path)
    # Layers and models are named as in a new process.
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_runs(page: Path) -> None:
    examples = list(Document.parse(str(page), *PARSERS[page.suffix]))
    for example in examples:
        example.evaluate()
    assert examples or name(page) not in PAGES_WITH_EXAMPLES


DOCSTRINGS = docstrings()


@pytest.mark.parametrize("document", DOCSTRINGS.values(), ids=DOCSTRINGS)
def test_a_docstring_runs(document: Document) -> None:
    for example in document:
        example.evaluate()


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "docs/guides/how_it_works_inside.md"]
)
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w/]+\.py)`", text))
    # `my_rule.py` is yet to be written; a name without a folder stands beside another.
    named = {p for p in paths if "/" in p and not re.search("my_|a/", p)}
    roots = (ROOT, ROOT / "keras_dnn", ROOT / "keras_dnn" / "callbacks")
    assert len(named) > 5
    assert not {p for p in named if not any((root / p).exists() for root in roots)}


def test_a_wrong_example_fails() -> None:
    # Above all: doctest compares, and does not merely run.
    document = Document("    >>> 1 + 1\n    3\n", "wrong")
    (region,) = DocTestParser()(document)
    document.add(region)
    (example,) = document
    with pytest.raises(AssertionError, match="Got:\n    2"):
        example.evaluate()
