<#
.SYNOPSIS
Registers both apps of the sample in your tenant and writes the settings they need.

.DESCRIPTION
Finds Python, creates FlaskAPI's virtual environment if it is missing, and calls configure.py. The
script needs no administrator rights and installs no PowerShell module.

.PARAMETER Credential
A service principal: its application ID and its secret. Without it, sign in with the browser.

.PARAMETER TenantId
The ID or a domain name of the tenant. The default is the home tenant of the account.

.PARAMETER AzureEnvironmentName
The Azure cloud. The default is AzureCloud.

.PARAMETER Script
The Python script to run. Cleanup.ps1 sets it.

.PARAMETER MoreOptions
All other options of configure.py, such as --certificate or --redirect-uri <address>.

.EXAMPLE
.\Configure.ps1

.EXAMPLE
.\Configure.ps1 -TenantId 'contoso.onmicrosoft.com'

.EXAMPLE
.\Configure.ps1 -Credential (Get-Credential)

The tenant comes from the environment variable AZURE_TENANT_ID.

.EXAMPLE
.\Configure.ps1 -Credential (Get-Credential) -TenantId 'contoso.onmicrosoft.com' --yes

.EXAMPLE
.\Configure.ps1 --certificate 90 --dry-run

.EXAMPLE
.\Configure.ps1 --redirect-uri 'https://app.example/account/callback'
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [PSCredential] $Credential,
    [string] $TenantId,
    [ValidateSet('AzureCloud', 'AzureUSGovernment', 'AzureChinaCloud')]
    [string] $AzureEnvironmentName = 'AzureCloud',
    [ValidateSet('configure.py', 'cleanup.py')]
    [string] $Script = 'configure.py',
    [Parameter(ValueFromRemainingArguments = $true)]
    [string[]] $MoreOptions = @()
)

$ErrorActionPreference = 'Stop'

if ($Credential -and $Credential.UserName.Contains('@')) {
    throw ('Entra no longer accepts a user name and a password here: administrators need a second ' +
        'factor. Leave -Credential out and sign in with the browser, or pass the application ID and ' +
        'the secret of a service principal.')
}

$root = Split-Path -Parent $PSScriptRoot
$venv = Join-Path $root 'FlaskAPI/venv'
$python = Join-Path $venv 'bin/python'
if ($env:OS -eq 'Windows_NT') {
    $python = Join-Path $venv 'Scripts/python.exe'
}
if (-not (Test-Path $python)) {
    $found = Get-Command -Name @('py', 'python3', 'python') -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if (-not $found) {
        throw 'Python 3.11 or newer is not installed: https://www.python.org/downloads/'
    }
    Write-Host 'Creating the virtual environment FlaskAPI/venv'
    & $found.Source -m venv $venv
    if ($LASTEXITCODE -ne 0) {
        throw 'Could not create the virtual environment. The lines above say why.'
    }
    & $python -m pip install --disable-pip-version-check -r (Join-Path $root 'FlaskAPI/requirements.txt')
    if ($LASTEXITCODE -ne 0) {
        throw 'Could not install the packages of FlaskAPI. The lines above say why.'
    }
}

$options = @('--cloud', $AzureEnvironmentName)
if ($TenantId) {
    $options += @('--tenant', $TenantId)
}
# Use environment variables, because every user of the machine can read a process's arguments.
$before = @($env:AZURE_CLIENT_ID, $env:AZURE_CLIENT_SECRET)
if ($Credential) {
    $env:AZURE_CLIENT_ID = $Credential.UserName
    $env:AZURE_CLIENT_SECRET = $Credential.GetNetworkCredential().Password
}
try {
    & $python (Join-Path $PSScriptRoot $Script) @options @MoreOptions
} finally {
    $env:AZURE_CLIENT_ID = $before[0]
    $env:AZURE_CLIENT_SECRET = $before[1]
}
exit $LASTEXITCODE
