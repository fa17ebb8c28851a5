# Apical on Windows:   powershell -ExecutionPolicy Bypass -File installer\setup.ps1 run
#   setup  creates .venv        run  opens the window on the demo        test  runs all checks without a window
# $env:PYTHON selects the Python (3.11 to 3.13).
param([ValidateSet("setup", "run", "test")][string]$Verb = "run")
$ErrorActionPreference = "Stop"
Set-Location (Join-Path $PSScriptRoot "..")

function Invoke-Checked([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

function Find-Python {
    $fits = "import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    if ($env:PYTHON) { return , @($env:PYTHON) }
    foreach ($version in "3.13", "3.12", "3.11") {
        if (Get-Command py -ErrorAction SilentlyContinue) {
            & py "-$version" -c $fits 2>$null
            if ($LASTEXITCODE -eq 0) { return , @("py", "-$version") }
        }
    }
    if (Get-Command python -ErrorAction SilentlyContinue) { return , @("python") }
    Write-Error "No Python was found; install Python 3.11, 3.12 or 3.13 from python.org first."
}

$python = @(Find-Python)
$first = @($python | Select-Object -Skip 1)
$check = if ($Verb -eq "run") { "window" } else { "test" }
Invoke-Checked $python[0] ($first + @("installer\check_system.py", "--for", $check))
Invoke-Checked $python[0] ($first + @("installer\setup_venv.py"))

if ($Verb -eq "run") { Invoke-Checked ".venv\Scripts\apical.exe" @("demo") }
if ($Verb -eq "test") {
    $env:OMP_WAIT_POLICY = "PASSIVE"
    $env:QT_QPA_PLATFORM = "offscreen"
    Invoke-Checked ".venv\Scripts\ruff.exe" @("check", ".")
    Invoke-Checked ".venv\Scripts\ruff.exe" @("format", "--check", ".")
    Invoke-Checked ".venv\Scripts\lint-imports.exe" @()
    Invoke-Checked ".venv\Scripts\mypy.exe" @()
    Invoke-Checked ".venv\Scripts\python.exe" @("-m", "pytest")
}
