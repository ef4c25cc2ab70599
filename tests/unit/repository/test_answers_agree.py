"""The error codes of the API and the pages that the UI has for them are the same."""

from Helpers.errors import API_PAGES
from helpers.errors import ERROR_RESPONSES


def test_every_refusal_of_the_api_has_a_page():
    """``internal_error`` is explained like any answer that the API should not have given."""
    assert ERROR_RESPONSES.keys() - API_PAGES.keys() == {"internal_error"}
    assert API_PAGES.keys() <= ERROR_RESPONSES.keys()
