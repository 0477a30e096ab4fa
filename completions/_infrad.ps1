Register-ArgumentCompleter -Native -CommandName infrad -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The words as they are written: nothing in them is evaluated.
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursorPosition } | ForEach-Object {
            if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text }
        })
    if ($wordToComplete -eq '') {
        $words += ''
    }
    $before = $env:INFRAD_COMPLETE
    $env:INFRAD_COMPLETE = 'powershell'
    try {
        $answer = @(& (Get-Command -CommandType Application infrad | Select-Object -First 1) -- @words 2>$null)
    } finally {
        $env:INFRAD_COMPLETE = $before
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
