"""The modules of an app, and what each of them imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def modules(folder: str) -> dict[str, Path]:
    """Return the modules of an app by name, without packages, virtual environments and settings."""
    files = {}
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT / folder).with_suffix("").parts
        if "venv" not in parts and parts[-1] not in ("__init__", "gunicorn.conf"):
            files[".".join(parts)] = file
    return files


@cache
def imports(file: Path) -> frozenset[str]:
    """Return every module that ``file`` imports; of ``from a import b`` both ``a`` and ``a.b``."""
    return frozenset(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or "mock_azure" in file.parts, f"relative import in {file}"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(folder: str) -> dict[str, set[str]]:
    """Return, for each module of the app, the modules of the same app that it imports."""
    files = modules(folder)
    return {name: set(imports(file)) & files.keys() for name, file in files.items()}
