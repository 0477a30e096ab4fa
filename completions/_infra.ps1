Register-ArgumentCompleter -Native -CommandName infra -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The words as they are written: nothing in them is evaluated.
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursorPosition } | ForEach-Object {
            if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text }
        })
    if ($wordToComplete -eq '') {
        $words += ''
    }
    $before = $env:INFRA_COMPLETE
    $env:INFRA_COMPLETE = 'powershell'
    try {
        $answer = @(& (Get-Command -CommandType Application infra | Select-Object -First 1) -- @words 2>$null)
    } finally {
        $env:INFRA_COMPLETE = $before
    }
    # PowerShell completes names of files itself, and quotes them, where nothing is offered.
    if ($answer.Count -eq 0 -or $answer[0] -ne 'names') {
        return
    }
    $answer | Select-Object -Skip 1 | ForEach-Object {
        $value, $help = $_.Split("`t", 2)
        if (-not $help) {
            $help = $value
        }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
