"""CONTRIBUTING.md: its pictures are those of the code, and its commands exist."""

import re

from tests import imports
from tests.pictures import modules
from tests.unit.repository.documents import API, ROOT, UI, Document

DOCUMENT = Document("CONTRIBUTING.md")


def test_the_pictures_of_modules_are_drawn_from_the_imports():
    assert modules.with_pictures(DOCUMENT.text) == DOCUMENT.text, (
        "run: tests/venv/bin/python -m tests.pictures.modules"
    )


def test_the_pictures_show_every_module_and_no_indirect_import():
    for folder in ("FlaskAPI", "DjangoUI"):
        (drawn,) = DOCUMENT.fences("mermaid", f"The modules of {folder}")
        shown = set(re.findall(r"[\w/]+", drawn.replace("flowchart LR", "")))
        names = imports.modules(folder)
        assert shown == {name.replace(".", "/") for name in names}
    assert "helpers/authorization --> helpers/errors" in DOCUMENT.text
    assert "views/subscriptions_view --> helpers/errors" not in DOCUMENT.text


def test_the_table_of_contents_is_complete():
    assert re.findall(r"^- \[(.+)\]\(#", DOCUMENT.text, re.M) == re.findall(
        r"^## (.+)$", DOCUMENT.prose, re.M
    )


def test_the_tests_and_launch_configurations_that_are_named_exist():
    for file, name in re.findall(r'"(tests/[\w/]+\.py)::(\w+)"', DOCUMENT.text):
        assert f"def {name}(" in (ROOT / file).read_text("utf-8")
    named = set(re.findall(r"\*\*(Python: (?:Flask|Django)[^*]*)\*\*", DOCUMENT.text))
    assert named == set(re.findall(r"\*\*(Python: (?:Flask|Django)[^*]*)\*\*", API.text + UI.text))
    for name in re.findall(r"in `(validate_access_token)` and `(complete_sign_in)`", DOCUMENT.text):
        sources = [path.read_text("utf-8") for path in ROOT.glob("*/[Hh]elpers/*.py")]
        assert all(any(f"def {one}(" in source for source in sources) for one in name)
