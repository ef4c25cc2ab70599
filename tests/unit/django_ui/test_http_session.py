"""Helpers.http_session: the same code as the API's module, which has its own tests."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]


def code(path: str) -> str:
    """The module without its docstring."""
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return "\n".join(ast.unparse(statement) for statement in module.body[1:])


def test_has_the_same_code_as_the_apis_module():
    assert code("DjangoUI/Helpers/http_session.py") == code("FlaskAPI/helpers/http_session.py")
