"""Both ways to install an app install the same packages, and every pin is exact."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]


def pinned(file: Path) -> list[Requirement]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if re.match(r"\w", line)]


@pytest.mark.parametrize("folder", ["FlaskAPI", "DjangoUI", "tests"])
def test_every_requirement_is_pinned(folder):
    for requirement in pinned(ROOT / folder / "requirements.txt"):
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement


@pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
def test_the_pipfile_allows_what_is_pinned(app):
    pipfile = tomllib.loads((ROOT / app / "Pipfile").read_text(encoding="utf-8"))
    ranges = {
        name.lower(): value if isinstance(value, str) else value["version"]
        for name, value in pipfile["packages"].items()
    }
    pins = {pin.name.lower(): pin for pin in pinned(ROOT / app / "requirements.txt")}
    assert ranges.keys() == pins.keys()
    for name, pin in pins.items():
        assert str(pin.specifier).removeprefix("==") in SpecifierSet(ranges[name]), name


def test_packages_that_both_apps_use_have_one_version():
    api, ui = (
        {pin.name.lower(): str(pin.specifier) for pin in pinned(ROOT / app / "requirements.txt")}
        for app in ("FlaskAPI", "DjangoUI")
    )
    assert {name: api[name] for name in api.keys() & ui} == {
        name: ui[name] for name in api.keys() & ui
    }
