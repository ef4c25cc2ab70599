"""What keeps the unit tests quick."""

import pytest


@pytest.fixture(autouse=True)
def quick_trust(one_root: None) -> None:
    """No unit test meets a public server, so none has to load the public roots."""
