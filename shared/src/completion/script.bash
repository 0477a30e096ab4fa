_PROGRAM_complete() {
    # Bash splits a line at colons and equals signs: where two of its words adjoin in the line they are one.
    local rest=$COMP_LINE word words=() count=0 i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # What is after the cursor is not part of the word that is being typed.
        if ((i == COMP_CWORD)); then
            if [[ $word == [:=\"\']* ]]; then word=${word:0:1}$2; else word=$2; fi
        fi
        if ((i > 0)) && [[ $rest == [!\ $'\t']* && ($word == [:=]* || ${words[count - 1]} == *[:=]) ]]; then
            words[count - 1]+=$word
        else
            words[count]=$word
            count=$((count + 1))
        fi
        rest=${rest#*"${COMP_WORDS[i]}"}
    done
    local answer=() line
    while IFS= read -r line; do
        answer+=("$line")
    done < <(VARIABLE=bash command PROGRAM -- "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    case ${answer[0]-} in
        names)
            for line in "${answer[@]:1}"; do
                COMPREPLY+=("${line%%$'\t'*}")
            done
            ;;
        "command $((count - 1))")
            if [[ $2 == */* ]]; then
                compopt -o default 2>/dev/null
            else
                while IFS= read -r line; do
                    printf -v line %q "$line"
                    COMPREPLY+=("$line")
                done < <(compgen -c -- "$2" | sort -u)
            fi
            ;;
        # Readline completes names of files, and quotes them.
        files | command*) compopt -o default 2>/dev/null ;;
    esac
}
if ((BASH_VERSINFO[0] < 4)); then
    complete -o bashdefault -o default -F _PROGRAM_complete PROGRAM
else
    complete -o bashdefault -F _PROGRAM_complete PROGRAM
fi
