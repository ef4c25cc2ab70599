"""The files that the scripts write on this machine: settings, a note, and an overview page."""

import html
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from dotenv import dotenv_values

from graph import Json

ROOT = Path(__file__).resolve().parent.parent
NOTE = Path(__file__).with_name("createdApps.json")
PAGE = Path(__file__).with_name("createdApps.html")

PAGE_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Registrations of the sample</title>
<h1>Registrations of the sample</h1>
<p>Tenant: {tenant}. Each app has its settings in <code>development.env</code>.</p>
<table>
<tr><th>Name<th>Application (client) ID<th>Credential expires
{cells}
</table>
"""


def write_private(file: Path, text: str) -> None:
    """Write ``file`` atomically, with mode 0600."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    os.replace(name, file)


# --- development.env ------------------------------------------------------------------------------


def development_env(folder: str) -> Path:
    return ROOT / folder / "development.env"


def certificate_file(folder: str) -> Path:
    return ROOT / folder / "certificate.pem"


def read_env(file: Path) -> dict[str, str]:
    """Return the settings in ``file`` as the apps read them, ``{}`` if there is no such file."""
    values = dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    return {key: value or "" for key, value in values.items()}


def render_env(folder: str, settings: dict[str, str]) -> str:
    """Return the app's template filled with ``settings``; other settings follow at the end."""
    # The template's heading, up to the first empty line, is only for people who copy it.
    body = template(folder).read_text(encoding="utf-8").partition("\n\n")[2]
    heading = "# Written by AppCreationScripts/configure.py. Keep this file out of Git."
    lines = [heading, "", *body.splitlines()]
    rest = dict(settings)
    for number, line in enumerate(lines):
        key = line.partition("=")[0]
        if key == "CLIENT_SECRET" and "CLIENT_CERTIFICATE" in settings:
            key = "CLIENT_CERTIFICATE"
        if key in rest:
            lines[number] = f"{key}={quoted(rest.pop(key))}"
    lines += [f"{key}={quoted(value)}" for key, value in rest.items()]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    if re.fullmatch(r"[\w.~:/?=&-]*", value, re.ASCII):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def replace_env(folder: str, settings: dict[str, str]) -> None:
    """Write the app's ``development.env``; keep an existing one as a backup."""
    file = development_env(folder)
    if file.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        backup = file.with_name(f"{file.name}.backup-{stamp}")
        write_private(backup, file.read_text(encoding="utf-8"))
        print(f"  keep the previous {folder}/{file.name} as {backup.name}")
        if lost := read_env(file).keys() - settings.keys() - read_env(template(folder)).keys():
            print(f"    settings of your own, now only in the backup: {', '.join(sorted(lost))}")
    print(f"  write {folder}/{file.name}", flush=True)
    write_private(file, render_env(folder, settings))


def template(folder: str) -> Path:
    return ROOT / folder / "production.env"


# --- the note and the page ------------------------------------------------------------------------


def read_note(tenant_id: str) -> dict[str, Json]:
    """Return this machine's registrations in that tenant, by ``api`` and ``ui``.

    Each is ``{"appId": ..., "isAdopted": ..., "made": [...], "expires": ...}``. ``made`` holds the
    IDs of owners and credentials, and the redirect URIs, that the script added. It has no secret.
    """
    notes: dict[str, dict[str, Json]] = json.loads(NOTE.read_text()) if NOTE.exists() else {}
    return notes.get(tenant_id, {})


def write_note(tenant_id: str, note: dict[str, Json]) -> None:
    """Store ``note`` for that tenant, or delete it if it is empty."""
    notes = json.loads(NOTE.read_text()) if NOTE.exists() else {}
    notes.pop(tenant_id, None)
    if note:
        notes[tenant_id] = note
    if notes:
        write_private(NOTE, json.dumps(notes, indent=2) + "\n")
    else:
        NOTE.unlink(missing_ok=True)


def write_page(tenant: str, rows: list[tuple[str, str, str, str]]) -> None:
    """Write ``createdApps.html``; a row is name, application ID, portal URL, expiry."""
    cells = "\n".join(
        f'<tr><td><a href="{portal}">{name}</a><td><code>{app_id}</code><td>{expiry}'
        for name, app_id, portal, expiry in (map(html.escape, row) for row in rows)
    )
    write_private(PAGE, PAGE_TEMPLATE.format(tenant=html.escape(tenant), cells=cells))
