"""Remove what ``configure.py`` made in your tenant and on this machine.

Run it with FlaskAPI's virtual environment, for the same tenant and cloud as ``configure.py``.
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
    noted = {str(found["appId"]) for found in note.values()}
    both = desired.registrations()
    doomed, kept = sort_out(graph, both, noted, options.all)
    if not doomed:
        print("There is nothing to remove.")
    else:
        print("To be removed, with their service principals, secrets and consents:")
        for found in doomed:
            print(f"  {found['displayName']}, application ID {found['appId']}")
        if not agreed("Remove them?", options):
            raise Problem("Nothing was removed.")
        for found in doomed:
            # Graph deletes the service principal and the consents with it.
            doing = f"delete {found['displayName']} ({found['appId']})"
            graph.write(doing, "DELETE", f"/applications/{found['id']}")
        print("Entra keeps them for 30 days: App registrations > Deleted applications.")
    if not graph.dry_run:
        gone = (noted | {str(found["appId"]) for found in doomed}) - kept
        tidy_up(both, gone)
        files.write_note(signed_in.tenant_id, {})
        files.PAGE.unlink(missing_ok=True)
    return 0


def sort_out(
    graph: Graph, both: list[Registration], noted: set[str], everything: bool
) -> tuple[list[Json], set[str]]:
    """Return what may go, and the application IDs of what stays, having said why it does.

    What this machine noted may go if it has the tag; with ``everything``, all that has the tag. A
    name proves nothing: anybody may call an application so.
    """
    found = {one["appId"]: one for wanted in both for one in desired.with_tag(graph, wanted)}
    for app_id in noted - found.keys():
        if one := graph.get(f"/applications(appId='{app_id}')"):
            found[app_id] = one
    tags = {registration.tag for registration in both}
    doomed: list[Json] = []
    kept: set[str] = set()
    for app_id, one in found.items():
        if not tags & set(one["tags"]):
            reason = "it lost its tag."
        elif app_id not in noted and not everything:
            reason = "it has the tag, but was not made from here. --all removes it too."
        else:
            doomed.append(one)
            continue
        kept.add(app_id)
        print(f"Kept: {one['displayName']} ({app_id}), since {reason}")
    return doomed, kept


def tidy_up(both: list[Registration], gone: set[str]) -> None:
    """Delete the settings of what is gone; say what stays."""
    for registration in both:
        file = files.development_env(registration.folder)
        if file.exists() and files.read_env(file).get("CLIENT_ID") in gone:
            file.unlink()
            print(f"  delete {registration.folder}/{file.name}")
        elif file.exists():
            print(f"Kept: {registration.folder}/{file.name}, whose registration was not removed.")
        for backup in sorted(file.parent.glob(f"{file.name}.backup*")):
            print(f"Kept: {registration.folder}/{backup.name}. It may hold a secret.")


if __name__ == "__main__":
    sys.exit(run(main))
