"""A fixture that makes the unit tests faster."""

import pytest


@pytest.fixture(autouse=True)
def quick_trust(one_root: None) -> None:
    """Don't load the public roots: no unit test connects to a public server."""
