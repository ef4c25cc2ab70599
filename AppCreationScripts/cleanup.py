"""Remove what ``configure.py`` created in your tenant and on this machine.

Run it with FlaskAPI's virtual environment, for the same tenant and cloud as ``configure.py``.
"""

import argparse
import sys

import credentials
import registrations
import settings_files
from command_line import PERMISSION, arguments, confirmed, connect, run
from graph import Graph, ScriptError
from registrations import Registration


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    return arguments(__doc__).parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    _, graph, signed_in = connect(options, [PERMISSION])
    note = settings_files.read_note(signed_in.tenant_id)
    both = registrations.load()
    existing = [item for item in both if registrations.find_noted(graph, item, note)]
    if not existing:
        print("There is nothing to remove: this machine has noted no registration in this tenant.")
    for registration in existing:
        extent = " (adopted: only what this machine added)" * registration.is_adopted
        print(f"To be removed: {registrations.label(registration.application)}{extent}")
    if existing and not confirmed("Remove, with service principals and consents?", options):
        raise ScriptError("Nothing was removed.")
    for registration in existing:
        remove(graph, registration, note[registration.key].get("made", []))
    if not graph.dry_run:
        delete_files(both, {str(entry["appId"]) for entry in note.values()})
        settings_files.write_note(signed_in.tenant_id, {})
        settings_files.PAGE.unlink(missing_ok=True)
    return 0


def remove(graph: Graph, registration: Registration, made: list[str]) -> None:
    """Delete the registration; from an adopted one, remove only what this machine added."""
    label = registrations.label(registration.application)
    if registration.is_adopted:
        print(f"Kept: {label}. This machine adopted it.")
        credentials.remove_secrets(graph, registration, made)
        credentials.remove_others(graph, registration, made)
        uris = registrations.redirect_uris(registration.application)
        if added := [uri for uri in uris if uri in made]:
            body = {"web": {"redirectUris": [uri for uri in uris if uri not in made]}}
            graph.write(f"remove {' '.join(added)}", "PATCH", registration.path, body)
    else:
        # Graph deletes the service principal and the consents with it.
        graph.write(f"delete {label}", "DELETE", registration.path)
        print("    Entra keeps it for 30 days: App registrations > Deleted applications")


def delete_files(both: list[Registration], app_ids: set[str]) -> None:
    """Delete the settings and certificates of ``app_ids``; print which files stay."""
    for registration in both:
        file = settings_files.development_env(registration.folder)
        is_ours = settings_files.read_env(file).get("CLIENT_ID") in app_ids
        for written in (file, settings_files.certificate_file(registration.folder)):
            if written.exists() and is_ours:
                written.unlink()
                print(f"  delete {registration.folder}/{written.name}")
            elif written.exists():
                print(f"Kept: {registration.folder}/{written.name}, of another registration.")
        for backup in sorted(file.parent.glob(f"{file.name}.backup*")):
            print(f"Kept: {registration.folder}/{backup.name}, which can contain a secret.")


if __name__ == "__main__":
    sys.exit(run(main))
