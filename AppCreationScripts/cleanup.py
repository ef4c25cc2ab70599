"""Remove what ``configure.py`` made in your tenant and on this machine.

Run it with FlaskAPI's virtual environment, with the same options as ``configure.py``.
"""

import argparse
import sys

import registrations as desired
import settings_files as files
from configure import PERMISSION, agreed, arguments, connect, run
from graph import Graph, Json, Problem
from registrations import Registration


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument(
        "--all",
        action="store_true",
        help="also what has the sample's tag, but was not noted on this machine",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    _, graph, signed_in = connect(options, [PERMISSION])
    note = files.read_note(signed_in.tenant_id)
    both = desired.registrations()
    doomed = [(one, found) for one in both for found in candidates(graph, one, note, options)]
    if not doomed:
        print("There is nothing to remove.")
    else:
        print("To be removed, with their service principals, secrets and consents:")
        for _, found in doomed:
            print(f"  {found['displayName']}, application ID {found['appId']}")
        if not agreed("Remove them?", options):
            raise Problem("Nothing was removed.")
        for _, found in doomed:
            remove(graph, found)
    if not graph.dry_run:
        tidy_up(signed_in.tenant_id, both, {found["appId"] for _, found in doomed})
    return 0


def candidates(
    graph: Graph, registration: Registration, note: dict[str, Json], options: argparse.Namespace
) -> list[Json]:
    """What may go: noted here and with the tag; with ``--all`` everything that has the tag.

    A name alone proves nothing: anybody may call an application so.
    """
    chosen = []
    noted_id = str(note.get(registration.key, {}).get("appId", ""))
    noted = graph.get(f"/applications(appId='{noted_id}')") if noted_id else None
    if noted and registration.tag in noted["tags"]:
        chosen.append(noted)
    elif noted:
        print(f"Kept: {noted['displayName']} ({noted_id}), since it lost its tag.")
    for found in desired.with_tag(graph, registration):
        if found["appId"] == noted_id:
            continue
        if options.all:
            chosen.append(found)
        else:
            print(
                f"Kept: {found['displayName']} ({found['appId']}), since it has the tag but was "
                "not made from here. --all removes it too."
            )
    return chosen


def remove(graph: Graph, found: Json) -> None:
    """Delete the application; Graph deletes its service principal and consents with it."""
    doing = f"delete {found['displayName']} ({found['appId']})"
    graph.write(doing, "DELETE", f"/applications/{found['id']}")


def tidy_up(tenant_id: str, both: list[Registration], removed: set[str]) -> None:
    """Delete the settings of what is gone; say what stays."""
    for registration in both:
        file = files.development_env(registration.folder)
        shown = f"{registration.folder}/{file.name}"
        if file.exists() and files.read_env(file).get("CLIENT_ID") in removed:
            file.unlink()
            print(f"  delete {shown}")
        elif file.exists():
            print(f"Kept: {shown}, since its registration was not removed.")
        for backup in sorted(file.parent.glob(f"{file.name}.backup*")):
            print(f"Kept: {registration.folder}/{backup.name}. It may hold a secret.")
    files.write_note(tenant_id, {})
    files.PAGE.unlink(missing_ok=True)
    if removed:
        print("Entra keeps deleted applications for 30 days: App registrations > Deleted.")


if __name__ == "__main__":
    sys.exit(run(main))
