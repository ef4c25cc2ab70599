"""The written settings files, and what the apps read from them."""

import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import settings_files


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_files, "ROOT", tmp_path)
    monkeypatch.setattr(settings_files, "NOTE", tmp_path / "createdApps.json")
    monkeypatch.setattr(settings_files, "PAGE", tmp_path / "createdApps.html")
    (tmp_path / "App").mkdir()
    text = "# How to copy this.\n# More.\n\n# An ID.\nCLIENT_ID=ReplaceWithClientID\nOTHER=stays\n"
    (tmp_path / "App/production.env").write_text(text)
    return tmp_path


def test_the_template_is_filled_in(folder):
    settings_files.replace_env("App", {"CLIENT_ID": "an-id", "CA_BUNDLE": "/a/ca.pem"})
    assert (folder / "App/development.env").read_text().splitlines()[1:] == [
        "", "# An ID.", "CLIENT_ID=an-id", "OTHER=stays", "CA_BUNDLE=/a/ca.pem",
    ]  # fmt: skip


def test_a_certificate_replaces_the_secret_in_the_settings(folder):
    (folder / "App/production.env").write_text("# x\n\n# A secret.\nCLIENT_SECRET=x\nOTHER=y\n")
    settings_files.replace_env("App", {"CLIENT_CERTIFICATE": "/a/certificate.pem"})
    assert (folder / "App/development.env").read_text().splitlines()[1:] == [
        "", "# A secret.", "CLIENT_CERTIFICATE=/a/certificate.pem", "OTHER=y",
    ]  # fmt: skip


def test_every_replaced_file_has_its_backup(folder):
    for number in range(3):
        settings_files.replace_env("App", {"CLIENT_ID": f"id-{number}"})
    backups = [file.read_text() for file in (folder / "App").glob("development.env.backup-*")]
    assert sorted("id-1" in text for text in backups) == [False, True]
    assert not any("id-2" in text for text in backups)


@settings(deadline=None)  # a busy machine is slow
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
def test_every_value_is_read_back(tmp_path_factory, value):
    file = tmp_path_factory.mktemp("env") / "development.env"
    settings_files.write_private(file, f"KEY={settings_files.quoted(value)}\n")
    assert settings_files.read_env(file) == {"KEY": value}


@pytest.mark.parametrize(
    "value",
    ["a b", "a #b", "it's", 'say "x"', "$HOME", "back\\slash", "at the end\\", "two\\\\", "a=b"],
)
def test_awkward_characters_are_read_back(folder, value):
    file = folder / "development.env"
    settings_files.write_private(file, f"KEY={settings_files.quoted(value)}\n")
    assert settings_files.read_env(file) == {"KEY": value}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_windows_notepad_saved_is_read(folder):
    (folder / "development.env").write_text("\ufeffCLIENT_ID=an-id\n", encoding="utf-8")
    assert settings_files.read_env(folder / "development.env") == {"CLIENT_ID": "an-id"}


def test_notes_of_two_tenants_do_not_mix(folder):
    settings_files.write_note("one", {"api": {"appId": "1"}})
    settings_files.write_note("two", {"api": {"appId": "2"}})
    settings_files.write_note("one", {})
    assert settings_files.read_note("one") == {}
    assert settings_files.read_note("two") == {"api": {"appId": "2"}}
    settings_files.write_note("two", {})
    assert not (folder / "createdApps.json").exists()


def test_the_page_escapes_markup(folder):
    settings_files.write_page("<tenant>", [("<b>", "<i>", 'https://x/"><script>', "<s>")])
    page = (folder / "createdApps.html").read_text()
    assert "&lt;b&gt;" in page
    for markup in ("<b>", "<i>", "<script>", "<s>", "<tenant>"):
        assert markup not in page
