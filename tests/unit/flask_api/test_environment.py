"""The settings: where they come from, and what is refused with which words."""

import pytest

from helpers import environment
from helpers.environment import ConfigurationError, load_settings

TENANT = "11111111-2222-4333-8444-555555555555"
GOOD = {
    "FLASK_ENV": "development",
    "ENV_FILE": "",
    "CLIENT_ID": "aaaaaaaa-0000-4000-8000-000000000001",
    "CLIENT_SECRET": "a secret with $dollar and #hash",
    "AUTHORITY": f"https://login.microsoftonline.com/{TENANT}",
    "ISSUER": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "SCOPE": "https://management.azure.com/user_impersonation",
    "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": "https://management.azure.com/subscriptions?api-version=1",
}


@pytest.fixture
def app_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "APP_DIR", tmp_path)
    return tmp_path


def write(file, settings):
    file.write_text("".join(f"{key}='{value}'\n" for key, value in settings.items()))


def refusal(environ):
    with pytest.raises(ConfigurationError) as refused:
        load_settings(environ)
    return refused.value.message


def test_good_settings_come_back_with_defaults():
    settings = load_settings(GOOD)
    assert settings["CLIENT_SECRET"] == GOOD["CLIENT_SECRET"]
    assert settings["REQUIRED_SCOPE"] == "access_as_user"
    assert settings["CLIENT_CERTIFICATE"] == ""
    assert "PATH" not in settings


@pytest.mark.parametrize("mode", ["", "test", "prod"])
def test_refuses_mode(mode):
    assert "Set it to 'development' or 'production'" in refusal(GOOD | {"FLASK_ENV": mode})


def test_refuses_an_unset_mode():
    assert "FLASK_ENV is ''" in refusal({})


def test_the_file_of_the_mode_is_read_from_the_apps_own_folder(app_dir, monkeypatch):
    write(app_dir / "development.env", {k: v for k, v in GOOD.items() if k in environment.CHECKS})
    monkeypatch.chdir("/")
    assert load_settings({"FLASK_ENV": "Development"})["CLIENT_ID"] == GOOD["CLIENT_ID"]


def test_the_environment_wins_over_the_file(app_dir):
    write(app_dir / "development.env", {k: v for k, v in GOOD.items() if k in environment.CHECKS})
    environ = {"FLASK_ENV": "development", "LOG_LEVEL": "DEBUG", "CLIENT_SECRET": "other"}
    settings = load_settings(environ)
    assert (settings["LOG_LEVEL"], settings["CLIENT_SECRET"]) == ("DEBUG", "other")


def test_a_file_with_a_byte_order_mark_is_read(app_dir):
    lines = "".join(f"{k}='{v}'\n" for k, v in GOOD.items() if k in environment.CHECKS)
    (app_dir / "development.env").write_text(lines, encoding="utf-8-sig")
    assert load_settings({"FLASK_ENV": "development"})["CLIENT_ID"] == GOOD["CLIENT_ID"]


def test_all_that_is_missing_is_named_at_once(app_dir):
    message = refusal({"FLASK_ENV": "development"})
    for key in ("CLIENT_ID", "AUTHORITY", "ISSUER", "SCOPE", "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"):
        assert f"{key} is missing" in message
    assert "CLIENT_SECRET or CLIENT_CERTIFICATE is needed" in message
    assert str(app_dir / "development.env") in message


def test_the_template_as_it_stands_is_refused():
    message = refusal({"FLASK_ENV": "production"})
    for key in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY", "ISSUER"):
        assert f"{key} still holds the placeholder" in message
    assert "SCOPE" not in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CLIENT_ID": "contoso-api"}, "CLIENT_ID must be a GUID"),
        ({"AUTHORITY": f"http://login.microsoftonline.com/{TENANT}"}, "AUTHORITY must be https://"),
        ({"AUTHORITY": "https://login.microsoftonline.com/contoso.com"}, "not a domain name"),
        ({"AUTHORITY": "https://login.microsoftonline.com/common"}, "not a domain name, common"),
        ({"AUTHORITY": f"{GOOD['AUTHORITY']}/"}, "with nothing after it"),
        ({"AUTHORITY": f"{GOOD['AUTHORITY']}/v2.0"}, "with nothing after it"),
        ({"AUTHORITY": "https://[x"}, "AUTHORITY must be https://"),
        ({"ISSUER": GOOD["AUTHORITY"]}, "ISSUER must be the AUTHORITY followed by /v2.0"),
        ({"ISSUER": f"https://sts.windows.net/{TENANT}/"}, "followed by /v2.0"),
        ({"SCOPE": "user_impersonation"}, "SCOPE must be one scope"),
        ({"SCOPE": "https://a.example/x https://a.example/y"}, "SCOPE must be one scope"),
        (
            {"AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": "http://a.example/"},
            "must be an https:// address",
        ),
        ({"ALLOWED_CLIENT_IDS": "one,two"}, "ALLOWED_CLIENT_IDS must be"),
        ({"CA_BUNDLE": "/nowhere/ca.pem"}, "names a file that is not there"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of"),
        ({"CLIENT_SECRET": ""}, "CLIENT_SECRET or CLIENT_CERTIFICATE is needed"),
        ({"CLIENT_CERTIFICATE": __file__}, "only one of them"),
        ({"REQUIRED_SCOPE": "two words"}, "REQUIRED_SCOPE must be one word"),
    ],
)
def test_refuses_setting(change, words):
    assert words in refusal(GOOD | change)


def test_a_misspelt_key_in_the_file_is_named(app_dir):
    write(app_dir / "development.env", {"CLIENTID": "x"})
    assert "CLIENTID is not a setting of this app" in refusal(
        GOOD | {"ENV_FILE": "development.env"}
    )


def test_a_secret_in_the_file_is_refused_in_production(app_dir):
    write(app_dir / "production.env", {"CLIENT_SECRET": "s3cret"})
    environ = GOOD | {"FLASK_ENV": "production", "ENV_FILE": "production.env"}
    message = refusal(environ)
    assert "CLIENT_SECRET stands in a file" in message
    assert "s3cret" not in message


def test_a_secret_of_the_environment_is_fine_in_production(app_dir):
    write(app_dir / "production.env", {"CLIENT_SECRET": "ReplaceWithClientSecret"})
    environ = GOOD | {"FLASK_ENV": "production", "ENV_FILE": "production.env"}
    assert load_settings(environ)["CLIENT_SECRET"] == GOOD["CLIENT_SECRET"]


def test_no_message_repeats_a_secret():
    assert "dollar" not in refusal(GOOD | {"CLIENT_ID": "x", "AUTHORITY": "y"})
