"""The PowerShell scripts are parsed, not run, because the test machines have no PowerShell."""

import re

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from tests.unit.app_creation_scripts.test_description import DOCUMENT
from tests.unit.repository.documents import ROOT

SCRIPTS = sorted((ROOT / "AppCreationScripts").glob("*.ps1"))
KNOWN = {"Get-Command", "Join-Path", "Select-Object", "Split-Path", "Test-Path", "Write-Host"}
INVOKED = {"$found.Source", "$python", "(Join-Path $PSScriptRoot 'Configure.ps1')"}
TEXTS = {path.name: path.read_text("utf-8") for path in SCRIPTS}


def called(text: str) -> tuple[set[str], set[str]]:
    """The commands of a script: those with a name, and those after ``&``."""
    tree = Parser(Language(tree_sitter_powershell.language())).parse(text.encode())
    assert not tree.root_node.has_error, text
    stack = [tree.root_node]
    names: set[str] = set()
    invoked: set[str] = set()
    while stack:
        node = stack.pop()
        stack += node.children
        for kind, found in (("command_name", names), ("command_name_expr", invoked)):
            if node.type == kind and node.text:
                found.add(node.text.decode())
    return names, invoked - names


@pytest.mark.parametrize("name", ["Configure.ps1", "Cleanup.ps1"])
def test_a_script_calls_only_what_we_know(name):
    names, invoked = called(TEXTS[name])
    assert names <= KNOWN
    assert invoked <= INVOKED
    assert invoked


def test_a_misspelled_command_and_a_missing_bracket_are_detected():
    assert "Get-Comand" in called("Get-Comand py")[0]
    with pytest.raises(AssertionError):
        called("if ($true) { Write-Host 'x'")


@pytest.mark.parametrize("name", ["Configure.ps1", "Cleanup.ps1"])
def test_the_parameters_keep_their_names(name):
    for parameter in ("PSCredential] $Credential", "string] $TenantId"):
        assert f"[{parameter}" in TEXTS[name]
    clouds = "'AzureCloud', 'AzureUSGovernment', 'AzureChinaCloud'"
    assert (
        f"[ValidateSet({clouds})]\n    [string] $AzureEnvironmentName = 'AzureCloud'" in TEXTS[name]
    )


def test_the_secret_goes_through_the_environment_only():
    uses = [line.strip() for line in TEXTS["Configure.ps1"].splitlines() if "Password" in line]
    assert uses == ["$env:AZURE_CLIENT_SECRET = $Credential.GetNetworkCredential().Password"]
    arguments = re.search(r"\n    & \$python (.+)\n", TEXTS["Configure.ps1"].split("try {")[1])
    assert arguments[1] == "(Join-Path $PSScriptRoot $Script) @options @MoreOptions"


def test_the_environment_is_restored_even_if_the_script_fails():
    """Later commands in the same window must not find the secret."""
    text = TEXTS["Configure.ps1"]
    before, _, rest = text.partition("\n    $env:AZURE_CLIENT_SECRET = $Credential")
    assert "$before = @($env:AZURE_CLIENT_ID, $env:AZURE_CLIENT_SECRET)" in before
    block = re.search(r"\ntry \{\n    & \$python [^}]+\n\} finally \{\n([^}]+)\n\}\n", rest)
    assert [line.strip() for line in block[1].splitlines()] == [
        "$env:AZURE_CLIENT_ID = $before[0]",
        "$env:AZURE_CLIENT_SECRET = $before[1]",
    ]


@pytest.mark.parametrize("name", ["Configure.ps1", "Cleanup.ps1"])
def test_every_other_option_is_passed_on(name):
    assert "[Parameter(ValueFromRemainingArguments = $true)]" in TEXTS[name]
    assert "[string[]] $MoreOptions = @()" in TEXTS[name]


def test_a_users_password_is_refused_with_a_reason():
    assert "$Credential.UserName.Contains('@')" in TEXTS["Configure.ps1"]
    assert "no longer accepts a user name and a password" in TEXTS["Configure.ps1"]


def test_the_examples_of_the_document_call_the_scripts():
    for block in DOCUMENT.fences("powershell"):
        names, invoked = called(block)
        assert names | invoked <= {r".\AppCreationScripts\Configure.ps1", "Get-Credential"}
