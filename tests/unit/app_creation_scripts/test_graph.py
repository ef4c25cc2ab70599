"""Clouds, ways to sign in, and messages when Graph refuses."""

import json
import uuid

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
        *(
            pytest.param(json.dumps({**URLS, name: "http://x"}), "not https://: http://x", id=name)
            for name in ("login", "graph", "arm", "portal")
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
        # Microsoft's support looks a request up by this ID.
        ids = [uuid.UUID(call.request.headers["client-request-id"]) for call in net.calls]
        assert len(set(ids)) == 2
        assert [call.request.req_kwargs["timeout"] for call in net.calls] == [(5, 30)] * 2


NO_ANSWER = pytest.mark.parametrize(
    "error", [requests.ConnectionError("cut"), requests.ReadTimeout("late")], ids=["cut", "late"]
)


@NO_ANSWER
def test_a_creation_without_an_answer_is_not_repeated(error):
    """It may have succeeded; the next run finds it by its tag."""
    with responses.RequestsMock() as net:
        net.post(f"{URLS['graph']}/v1.0/applications", body=error)
        writer = Graph(http_session(), URLS["graph"], "a token")
        with pytest.raises(ScriptError, match="did not answer"):
            writer.write("create", "POST", "/applications")
        assert len(net.calls) == 1


@NO_ANSWER
def test_a_change_without_an_answer_is_repeated(monkeypatch, error):
    monkeypatch.setattr(graph, "sleep", lambda seconds: None)
    with responses.RequestsMock() as net:
        net.patch(f"{URLS['graph']}/v1.0/x", body=error)
        net.patch(f"{URLS['graph']}/v1.0/x", status=204)
        Graph(http_session(), URLS["graph"], "a token").write("set x", "PATCH", "/x", {})


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"error": "no"}', '{"error": {}}'])
def test_an_error_without_graphs_json_is_told_by_its_status(body):
    with responses.RequestsMock() as net:
        net.get(f"{URLS['graph']}/v1.0/x", status=500, body=body)
        with pytest.raises(GraphError, match="500 Internal Server Error: The answer is not"):
            Graph(http_session(), URLS["graph"], "a token").get("/x")


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        pytest.param({}, [1, 2, 4, 8, 16, 32, 60], id="twice-as-long-each-time"),
        pytest.param({"Retry-After": "100"}, [60, 60, 60], id="at-most-a-minute"),
    ],
)
def test_a_busy_graph_is_asked_again_for_three_minutes(monkeypatch, headers, waits):
    slept = []
    monkeypatch.setattr(graph, "sleep", slept.append)
    with responses.RequestsMock() as net:
        net.get(f"{URLS['graph']}/v1.0/x", status=503, headers=headers)
        with pytest.raises(GraphError, match="503"):
            Graph(http_session(), URLS["graph"], "a token").get("/x")
    assert slept == waits


def test_too_few_rights_are_explained(capsys):
    def script():
        raise GraphError(403, "Authorization_RequestDenied", "No.")

    assert command_line.run(script) == 1
    text = capsys.readouterr().err
    assert "Application Developer" in text
    assert "Application.ReadWrite.All" in text
    assert "DelegatedPermissionGrant.ReadWrite.All" in text


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
    ("platform", "variable", "option", "asked"),
    [
        pytest.param("linux", "DISPLAY", False, "browser", id="x11"),
        pytest.param("linux", "WAYLAND_DISPLAY", False, "browser", id="wayland"),
        pytest.param("linux", "BROWSER", False, "browser", id="named-browser"),
        pytest.param("linux", "", False, "device", id="none"),
        pytest.param("darwin", "", False, "browser", id="macos"),
        pytest.param("win32", "", False, "browser", id="windows"),
        pytest.param("darwin", "", True, "device", id="another-device-by-option"),
    ],
)
def test_a_user_signs_in_with_a_browser_if_there_is_one(
    monkeypatch, platform, variable, option, asked
):
    class Client:
        def __init__(self, client_id, **options):
            self.authority = options["authority"]

        def acquire_token_interactive(self, scopes, **options):
            assert options == {"prompt": "select_account", "timeout": graph.SIGN_IN_SECONDS}
            return {"error": "browser", "error_description": f"{self.authority} {scopes}"}

        def initiate_device_flow(self, scopes):
            return {"error": "device", "error_description": f"{self.authority} {scopes}"}

    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, ":0")
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("msal.PublicClientApplication", Client)
    with pytest.raises(ScriptError) as told:
        graph.sign_in(Cloud(**URLS), http_session(), "", ["One", "Two"], option)
    scopes = ["https://graph.microsoft.com/One", "https://graph.microsoft.com/Two"]
    where = f"https://login.microsoftonline.com/organizations {scopes}"
    assert str(told.value) == f"Signing in failed: {asked}. {where}"


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y", True), (" Yes ", True), ("", False), ("n", False)]
)
def test_only_yes_is_an_agreement(monkeypatch, answer, agreed):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert command_line.confirmed("Go on?", configure.parse([])) is agreed
