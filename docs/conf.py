"""Sphinx settings; `make docs` builds the pages and fetches nothing."""

import os
import sys
from pathlib import Path

# Before the gallery imports TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

sys.path.insert(0, str(Path(__file__).parent))

import keras_dnn

project = "keras_dnn"
author = "The keras_dnn developers"
copyright = author
version = release = keras_dnn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "_mathematics",
]
exclude_patterns = ["_build", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
default_role = "py:obj"

# Markdown
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings
autodoc_typehints = "none"
autosummary_generate = False
napoleon_attr_annotations = False
napoleon_custom_sections = ["Reference"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Mathematics
html_math_renderer = "svg"

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # What starts processes of its own is shown, not run.
    "filename_pattern": r"[/\\](plot_|train_fashion)",
    "ignore_pattern": r"^(bible_text|fashion_mnist|make_\w+)\.py$",
    # What a page shows, it prints.
    "capture_repr": (),
    "image_scrapers": ("matplotlib",),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    # That page would take its table from the network.
    "write_computation_times": False,
}

# Pages
toc_object_entries = False
html_theme = "pydata_sphinx_theme"
html_title = f"keras_dnn {release}"
html_static_path = ["_static"]
html_css_files = ["keras_dnn.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "keras_dnn"},
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "show_nav_level": 2,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
# Pages that stand alone have nothing to show beside them.
html_sidebars = {page: [] for page in ("index", "changelog", "development")}
