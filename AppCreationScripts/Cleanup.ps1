<#
.SYNOPSIS
Removes what Configure.ps1 created in your tenant and on this machine, after a question.

.PARAMETER Credential
As for Configure.ps1.

.PARAMETER TenantId
As for Configure.ps1.

.PARAMETER AzureEnvironmentName
As for Configure.ps1.

.PARAMETER MoreOptions
All other options of cleanup.py, such as --dry-run.

.EXAMPLE
.\Cleanup.ps1 -TenantId 'contoso.onmicrosoft.com'
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [PSCredential] $Credential,
    [string] $TenantId,
    [ValidateSet('AzureCloud', 'AzureUSGovernment', 'AzureChinaCloud')]
    [string] $AzureEnvironmentName = 'AzureCloud',
    [Parameter(ValueFromRemainingArguments = $true)]
    [string[]] $MoreOptions = @()
)

& (Join-Path $PSScriptRoot 'Configure.ps1') -Script 'cleanup.py' @PSBoundParameters
exit $LASTEXITCODE
