"""The README can't lie: links, names of settings, the tree, commands, and the registration."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

import Helpers.environment
import helpers.environment
from Helpers.errors import PAGES
from helpers.errors import ANSWERS

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = [
    "Overview",
    "Scenario",
    "Contents",
    "Prerequisites",
    "Setup",
    "Registration",
    "Running the sample",
    "Explore the sample",
    "About the code",
    "National clouds",
    "Troubleshooting",
    "More information",
    "Community help and support",
    "Contributing",
]


def tracked() -> list[str]:
    """The repository's files, with those that git does not know yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


DOCUMENTS = [ROOT / name for name in tracked() if name.endswith(".md")]


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(title: str) -> str:
    """The text below one heading, up to the next of the same level."""
    level = re.search(rf"^(#+) {re.escape(title)}$", README, re.M)
    assert level, title
    rest = README[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def fences(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = document if not path else (document.parent / path).resolve()
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_sections_stand_in_order_and_in_the_table_of_contents():
    assert re.findall(r"^## (.+)$", README, re.M) == SECTIONS
    assert re.findall(r"^- \[(.+)\]\(#", README, re.M) == SECTIONS


def test_contents_names_what_is_there():
    named = set(re.findall(r"^\| `([^`]+)` \|", section("Contents"), re.M))
    there = {name.partition("/")[0] + ("/" if "/" in name else "") for name in tracked()}
    there = {name for name in there if not name.startswith(".")}
    assert named == there - {"README.md", "pyproject.toml"}


def test_the_top_level_holds_nothing_unexpected():
    allowed = {
        "DjangoUI", "FlaskAPI", "AppCreationScripts", "tests", "README.md", "CHANGELOG.md",
        "CONTRIBUTING.md", "LICENSE", "docker-compose.yml", "run.py", "pyproject.toml",
    }  # fmt: skip
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_files_that_the_text_names_exist():
    for name in set(re.findall(r"`((?:FlaskAPI|DjangoUI|tests)/[\w./]+)`", README)):
        generated = name.endswith(("development.env", "/venv"))
        assert generated or (ROOT / name).exists(), name


SETTINGS = {
    "FlaskAPI": {helpers.environment.MODE, *helpers.environment.CHECKS},
    "DjangoUI": {Helpers.environment.MODE, *Helpers.environment.CHECKS},
}


def test_every_setting_is_documented():
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", README))
    templates = {k for app in SETTINGS for k in dotenv_values(ROOT / app / "production.env")}
    for app, keys in SETTINGS.items():
        assert keys <= documented | templates | {"FLASK_ENV", "ENVIRONMENT"}, app


def test_every_setting_that_is_named_exists():
    others = {"HTTPS_PROXY", "NO_PROXY", "ENV_FILE", "FLASK_APP", "FLASK_ENV", "ENVIRONMENT"}
    shouted = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)`", README))
    assert shouted <= SETTINGS["FlaskAPI"] | SETTINGS["DjangoUI"] | others


def test_optional_settings_name_their_app():
    both = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \|", section("Optional settings"), re.M)
    for key, app in both:
        apps = ["FlaskAPI", "DjangoUI"] if app == "both" else [app]
        assert [name for name in SETTINGS if key in SETTINGS[name]] == apps, key


@pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
def test_the_template_holds_what_the_app_reads_and_the_readme_fills_in(app):
    template = dotenv_values(ROOT / app / "production.env")
    assert template.keys() <= SETTINGS[app]
    holes = {key for key, value in template.items() if re.search("Replace|Flask_API", value or "")}
    title = {"FlaskAPI": "Register the API", "DjangoUI": "Register the web app"}[app]
    filled = set(re.findall(r"^\| `([A-Z_]+)` \|", section(title), re.M))
    assert filled == holes - {"PRODUCTION_HOST"}


def test_the_manual_steps_register_what_the_apps_ask_for():
    api, ui = section("Register the API"), section("Register the web app")
    settings = dotenv_values(ROOT / "DjangoUI/production.env")
    for uri in ("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI"):
        assert f"`{settings[uri]}`" in ui
    scope = str(settings["API_SCOPE"]).rpartition("/")[2]
    assert f"**Scope name**: `{scope}`" in api
    assert f"**{scope}**" in ui
    assert helpers.environment.DEFAULTS["REQUIRED_SCOPE"] == scope
    assert str(settings["SCOPE"]).endswith("/.default")
    permission = str(dotenv_values(ROOT / "FlaskAPI/production.env")["SCOPE"]).rpartition("/")[2]
    assert f"**{permission}**" in api
    for text in (api, ui):
        assert '"requestedAccessTokenVersion": 2' in text


def test_national_clouds_give_settings_that_would_be_accepted():
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", section("National clouds"), re.M))
    tenant = "11111111-2222-4333-8444-555555555555"

    def cells(name):
        row = next(cells for title, cells in rows.items() if name in title)
        return [cell.strip("` ").replace("<tenant ID>", tenant) for cell in row.split(" | ")]

    clouds = zip(
        cells("AUTHORITY"), cells("SCOPE"), cells("AZURE_MANAGEMENT"), strict=True
    )  # fmt: skip
    for authority, scope, uri in clouds:
        settings = helpers.environment.load_settings(
            {
                "FLASK_ENV": "production",
                "ENV_FILE": "",
                "CLIENT_ID": tenant,
                "CLIENT_SECRET": "x",
                "AUTHORITY": authority,
                "ISSUER": f"{authority}/v2.0",
                "SCOPE": scope,
                "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": uri,
            }
        )
        assert settings["SCOPE"].split("/")[2] == uri.split("/")[2]


def test_troubleshooting_names_pages_and_codes_as_they_are():
    told = section("Troubleshooting")
    titles = {page.title for page in PAGES.values()}
    others = {"Port 5000 is taken"}  # the launcher's
    assert set(re.findall(r'"([A-Z][^"]+)"', told)) <= titles | others
    codes = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", told)) - {"access_as_user"}
    assert codes <= PAGES.keys() | ANSWERS.keys()


def test_launch_configurations_have_the_names_of_the_text():
    named = set(re.findall(r"\*\*(Python: (?:Flask|Django)[^*]*)\*\*", README))
    found = set()
    for app in ("FlaskAPI", "DjangoUI"):
        launch = json.loads((ROOT / app / ".vscode/launch.json").read_text("utf-8"))
        found |= {configuration["name"] for configuration in launch["configurations"]}
    assert named == found == {"Python: Flask", "Python: Django", "Python: Django: Run Migrations"}


def test_powershell_blocks_can_be_parsed_and_call_only_what_we_know():
    """They were parsed and not run: no machine of ours has PowerShell."""
    import tree_sitter_powershell
    from tree_sitter import Language, Parser

    parser = Parser(Language(tree_sitter_powershell.language()))
    known = {
        r".\AppCreationScripts\Configure.ps1",
        "cd",
        "py",
        "pip",
        "flask",
        "python",
        "Set-ExecutionPolicy",
        r".\venv\Scripts\Activate.ps1",
    }
    blocks = fences("powershell")
    assert blocks
    for block in blocks:
        tree = parser.parse(block.encode())
        assert not tree.root_node.has_error, block
        stack, called = [tree.root_node], set()
        while stack:
            node = stack.pop()
            stack += node.children
            if node.type == "command_name":
                called.add(node.text.decode())
        assert called <= known, called - known


def test_the_project_speaks_of_itself_alone():
    hosts = "|".join(["pypi" + r"\.org", "files.pythonhosted", "registry.npmjs", "deb.debian"])
    pattern = re.compile(rf"{hosts}|\.\./shared|/work/|(?<!\w)/root/", re.IGNORECASE)
    for name in tracked():
        if name.endswith(".webp"):
            continue
        text = (ROOT / name).read_text("utf-8")
        if match := pattern.search(text):
            assert name.endswith("test_readme.py"), f"{match[0]} in {name}"


def test_no_secret_is_tracked():
    names = tracked()
    assert not [name for name in names if name.endswith(("development.env", ".pem", ".sqlite3"))]
    for name in names:
        if name.endswith("production.env"):
            values = dotenv_values(ROOT / name)
            for key in ("CLIENT_SECRET", "DJANGO_SECRET_KEY"):
                assert str(values.get(key, "ReplaceWith")).startswith("ReplaceWith"), name
