"""``tests/venv/bin/python -m tests.pictures.modules``: draw CONTRIBUTING.md's pictures of modules.

An arrow leads from a module to one that it imports, unless longer arrows lead there as well.
"""

import re

from tests.imports import ROOT, own

FILE = ROOT / "CONTRIBUTING.md"


def path(name: str) -> str:
    return name.replace(".", "/")


def picture(folder: str) -> str:
    """Return the Mermaid diagram of an app's modules."""
    uses = {path(name): {path(used) for used in names} for name, names in own(folder).items()}

    def reachable(name: str) -> set[str]:
        return uses[name].union(*(reachable(used) for used in uses[name]))

    lines = []
    for name, used in uses.items():
        indirect = set().union(*(reachable(other) for other in used))
        lines += [f"    {name} --> {other}" for other in sorted(used - indirect)] or [f"    {name}"]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def with_pictures(text: str) -> str:
    """Return ``text`` with the diagram below each app's heading drawn anew."""
    for folder in ("FlaskAPI", "DjangoUI"):
        before, heading, rest = text.partition(f"### The modules of {folder}\n")
        drawn = re.sub("```mermaid\n.*?```", picture(folder), rest, count=1, flags=re.S)
        text = before + heading + drawn
    return text


if __name__ == "__main__":
    FILE.write_text(with_pictures(FILE.read_text(encoding="utf-8")), encoding="utf-8")
