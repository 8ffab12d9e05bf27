import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

import assay  # noqa: E402

generate.write_pages(HERE)

project = "assay"
author = "The assay developers"
copyright = author
release = assay.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = "assay"
html_extra_path = ["_build/extra"]
exclude_patterns = ["_build"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Docstrings are written to be read in an editor: `code` in single backticks, mathematics between dollars.
default_role = "literal"
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",  # written by scikit-learn
}
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False  # the signature has them


def _mathematics(app, what, name, obj, options, lines):
    lines[:] = generate.mathematics("\n".join(lines)).split("\n")


def setup(app):
    app.connect("autodoc-process-docstring", _mathematics, priority=400)  # before napoleon splits the lines
