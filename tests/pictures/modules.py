"""``tests/venv/bin/python -m tests.pictures.modules``: draw CONTRIBUTING.md's pictures of modules.

An arrow leads from a module to one that it imports, unless longer arrows lead there as well.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "CONTRIBUTING.md"


def imported(folder: str) -> dict[str, set[str]]:
    """Return the modules of an app, and for each the modules of the same app that it imports."""
    files = {
        str(file.relative_to(ROOT / folder).with_suffix("")): file
        for file in sorted((ROOT / folder).rglob("*.py"))
        if "venv" not in file.parts and file.stem not in ("__init__", "gunicorn.conf")
    }
    found = {}
    for name, file in files.items():
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}", *(f"{node.module}.{a.name}" for a in node.names)}
        found[name] = {used.replace(".", "/") for used in names} & files.keys() - {name}
    return found


def picture(folder: str) -> str:
    """Return the Mermaid diagram of an app's modules."""
    uses = imported(folder)

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
