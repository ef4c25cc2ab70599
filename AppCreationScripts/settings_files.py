"""What the scripts write on this machine: settings, a note of what exists, and a page to read."""

import html
import json
import os
import re
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from dotenv import dotenv_values

from graph import Json

ROOT = Path(__file__).resolve().parent.parent
NOTE = Path(__file__).with_name("createdApps.json")
PAGE = Path(__file__).with_name("createdApps.html")


def write_private(file: Path, text: str) -> None:
    """Let ``file`` appear all at once, readable and writable by its owner only."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    os.replace(name, file)


# --- development.env ------------------------------------------------------------------------------


def development_env(folder: str) -> Path:
    return ROOT / folder / "development.env"


def read_env(file: Path) -> dict[str, str]:
    """The settings in ``file``, as the apps read them; none if there is no such file."""
    values = dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    return {key: value or "" for key, value in values.items()}


def render_env(folder: str, settings: dict[str, str]) -> str:
    """The app's template with ``settings`` in their places; those without one follow at the end."""
    # The template's own heading, up to the first empty line, speaks to whoever copies it.
    body = template(folder).read_text(encoding="utf-8").partition("\n\n")[2]
    heading = "# Written by AppCreationScripts/configure.py. It holds a secret."
    lines = [heading, "", *body.splitlines()]
    left = dict(settings)
    for number, line in enumerate(lines):
        key = line.partition("=")[0]
        if key in left:
            lines[number] = f"{key}={quoted(left.pop(key))}"
    lines += [f"{key}={quoted(value)}" for key, value in left.items()]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    if re.fullmatch(r"[\w.~:/?=&-]*", value, re.ASCII):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def replace_env(folder: str, settings: dict[str, str]) -> None:
    """Write the app's ``development.env``; one that is there is kept beside it."""
    file = development_env(folder)
    if file.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        backup = file.with_name(f"{file.name}.backup-{stamp}")
        write_private(backup, file.read_text(encoding="utf-8"))
        print(f"  keep the former {folder}/{file.name} as {backup.name}")
        if lost := read_env(file).keys() - settings.keys() - read_env(template(folder)).keys():
            print(f"    settings of your own that only the backup has: {', '.join(sorted(lost))}")
    print(f"  write {folder}/{file.name}", flush=True)
    write_private(file, render_env(folder, settings))


def template(folder: str) -> Path:
    return ROOT / folder / "production.env"


def django_secret_key() -> str:
    return secrets.token_urlsafe(50)


# --- the note and the page ------------------------------------------------------------------------


def read_note(tenant_id: str) -> dict[str, Json]:
    """What this machine made in that tenant: ``{"api": {"appId": ..., "keyId": ...}, "ui": ...}``.

    IDs only; a secret has its place in ``development.env`` and nowhere else.
    """
    notes: dict[str, dict[str, Json]] = json.loads(NOTE.read_text()) if NOTE.exists() else {}
    return notes.get(tenant_id, {})


def write_note(tenant_id: str, note: dict[str, Json]) -> None:
    """Remember ``note`` for that tenant; an empty one is forgotten."""
    notes = json.loads(NOTE.read_text()) if NOTE.exists() else {}
    notes.pop(tenant_id, None)
    if note:
        notes[tenant_id] = note
    if notes:
        write_private(NOTE, json.dumps(notes, indent=2) + "\n")
    else:
        NOTE.unlink(missing_ok=True)


def write_page(tenant: str, rows: list[tuple[str, str, str, str]]) -> None:
    """Write ``createdApps.html``; a row is name, application ID, address in the portal, expiry."""
    cells = "\n".join(
        f'<tr><th scope="row"><a href="{html.escape(portal)}">{html.escape(name)}</a></th>'
        f"<td><code>{html.escape(app_id)}</code></td><td>{html.escape(expiry)}</td></tr>"
        for name, app_id, portal, expiry in rows
    )
    write_private(
        PAGE,
        f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Registrations of the sample</title>
<h1>Registrations of the sample</h1>
<p>In {html.escape(tenant)}. The secrets are in the two files <code>development.env</code>.</p>
<table>
<tr><th>Name</th><th>Application (client) ID</th><th>Secret expires</th></tr>
{cells}
</table>
</html>
""",
    )
