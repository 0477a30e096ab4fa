use str
set edit:completion:arg-completer[infra] = {|@words|
    var answer = []
    try {
        set answer = [(env INFRA_COMPLETE=elvish infra -- $@words 2>/dev/null | from-lines)]
    } catch e {
        nop
    }
    if (> (count $answer) 0) {
        if (eq $answer[0] names) {
            for line $answer[1..] {
                put [(str:split &max=2 "\t" $line)][0]
            }
        } elif (eq $answer[0] files) {
            var option value = '' $words[-1]
            if (and (str:has-prefix $value --) (str:contains $value '=')) {
                set option value = (str:split &max=2 '=' $value)
                set option = $option'='
            }
            edit:complete-filename $value | each {|file|
                edit:complex-candidate $option$file[stem] &code-suffix=$file[code-suffix] &display=$file[display]
            }
        } else {
            var before = (str:trim-prefix $answer[0] 'command ')
            edit:complete-sudo infra (all $words[$before..])
        }
    }
}
