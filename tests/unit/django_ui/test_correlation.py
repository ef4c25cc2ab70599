"""Helpers.correlation: what log lines show."""

import logging

import pytest

from Helpers.correlation import SafeLogRecords, correlation_id


@pytest.mark.parametrize(
    ("message", "args", "line"),
    [
        pytest.param(
            '"%s" %s %s',
            ("GET /account/callback?code=secret&state=x HTTP/1.1", "302", "0"),
            '"GET /account/callback HTTP/1.1" 302 0',
            id="line-of-runserver",
        ),
        pytest.param(
            "from %s", ("https://a.example/?code=x",), "from https://a.example/", id="url"
        ),
        pytest.param("%s", ('"GET /?code=x" 200',), '"GET /" 200', id="quoted"),
        pytest.param("%d of %s", (7, "eight"), "7 of eight", id="nothing-to-hide"),
        pytest.param("no arguments", None, "no arguments", id="no-arguments"),
        pytest.param("%(a)s", ({"a": 1},), "1", id="named"),
    ],
)
def test_log_lines_lose_their_query_strings(message, args, line):
    record = logging.LogRecord("name", logging.INFO, "file", 1, message, args, None)
    assert SafeLogRecords().filter(record)
    assert record.getMessage() == line


def test_log_lines_carry_the_correlation_id():
    record = logging.LogRecord("name", logging.INFO, "file", 1, "message", None, None)
    token = correlation_id.set("the-id")
    SafeLogRecords().filter(record)
    correlation_id.reset(token)
    assert record.correlation_id == "the-id"
