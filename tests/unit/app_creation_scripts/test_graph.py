"""Clouds, ways to sign in, and messages when Graph refuses."""

import json

import pytest
import requests
import responses

import command_line
import configure
import graph
from graph import Cloud, Graph, GraphError, ScriptError
from helpers.http_session import http_session

URLS = graph.SAMPLE["clouds"]["AzureCloud"]


@pytest.mark.parametrize("name", ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud"])
def test_a_cloud_is_known_by_name(name):
    assert graph.cloud_named(name) == Cloud(**graph.SAMPLE["clouds"][name])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{}", "missing", id="members-missing"),
        pytest.param("no json", "JSON file", id="not-json"),
        pytest.param(json.dumps({**URLS, "more": "x"}), "more", id="member-unknown"),
        pytest.param(
            json.dumps({**URLS, "graph": "http://x"}), "not https://: http://x", id="http"
        ),
    ],
)
def test_a_file_is_refused_with(tmp_path, text, words):
    file = tmp_path / "cloud.json"
    file.write_text(text)
    with pytest.raises(ScriptError, match=words):
        graph.cloud_named(str(file))


def test_an_unknown_cloud_is_refused():
    with pytest.raises(ScriptError, match="AzureCloud, AzureUSGovernment, AzureChinaCloud"):
        graph.cloud_named("AzureGermanCloud")


def test_the_token_is_not_in_what_an_object_shows():
    assert "secret-token" not in repr(Graph(http_session(), "https://x", "secret-token"))


def test_a_collection_is_read_page_by_page():
    second = f"{URLS['graph']}/v1.0/applications?$skiptoken=x"
    with responses.RequestsMock() as net:
        first = {"value": [{"id": "1"}], "@odata.nextLink": second}
        net.get(f"{URLS['graph']}/v1.0/applications", json=first)
        net.get(second, json={"value": [{"id": "2"}]})
        reader = Graph(http_session(), URLS["graph"], "a token")
        assert [found["id"] for found in reader.list("/applications")] == ["1", "2"]


def test_a_creation_without_an_answer_is_not_repeated():
    """It may have succeeded; the next run finds it by its tag."""
    with responses.RequestsMock() as net:
        net.post(f"{URLS['graph']}/v1.0/applications", body=requests.ConnectionError("cut"))
        writer = Graph(http_session(), URLS["graph"], "a token")
        with pytest.raises(ScriptError, match="did not answer"):
            writer.write("create", "POST", "/applications")
        assert len(net.calls) == 1


def test_a_change_without_an_answer_is_repeated(monkeypatch):
    monkeypatch.setattr(graph, "sleep", lambda seconds: None)
    with responses.RequestsMock() as net:
        net.patch(f"{URLS['graph']}/v1.0/x", body=requests.ConnectionError("cut"))
        net.patch(f"{URLS['graph']}/v1.0/x", status=204)
        Graph(http_session(), URLS["graph"], "a token").write("set x", "PATCH", "/x", {})


def test_too_few_rights_are_explained(capsys):
    def script():
        raise GraphError(403, "Authorization_RequestDenied", "No.")

    assert command_line.run(script) == 1
    text = capsys.readouterr().err
    assert "Application Developer" in text
    assert "Application.ReadWrite.All" in text


def test_a_question_needs_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ScriptError, match="To answer yes, add --yes"):
        command_line.confirmed("Go on?", configure.parse([]))
    assert command_line.confirmed("Go on?", configure.parse(["--yes"]))


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "Stopped."),
        (FileNotFoundError(2, "No such file", "key.pem"), 1, "key.pem"),
        (requests.ConnectionError("refused"), 1, "refused"),
        (ScriptError("Do this."), 1, "Do this."),
    ],
    ids=["interrupted", "file-missing", "no-connection", "script-error"],
)
def test_a_script_ends_without_a_traceback(capsys, error, status, words):
    def script():
        raise error

    assert command_line.run(script) == status
    text = capsys.readouterr().err
    assert words in text
    assert "Traceback" not in text


def test_a_cloud_without_a_public_client_needs_one(monkeypatch):
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    cloud = graph.cloud_named("AzureChinaCloud")
    with pytest.raises(ScriptError, match="--client-id"):
        graph.sign_in(cloud, http_session(), "", [], False)


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y", True), ("Yes", True), ("", False), ("n", False)]
)
def test_only_yes_is_an_agreement(monkeypatch, answer, agreed):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert command_line.confirmed("Go on?", configure.parse([])) is agreed
