#compdef PROGRAM
_PROGRAM() {
    local line value
    local -a answer names
    answer=("${(@f)$(VARIABLE=zsh command PROGRAM -- "${(@Q)words[1,CURRENT-1]}" "${(Q)IPREFIX}${(Q)PREFIX}" 2>/dev/null)}")
    case ${answer[1]} in
        names)
            for line in "${(@)answer[2,-1]}"; do
                value=${line%%$'\t'*}
                names+=("${${value//\\/\\\\}//:/\\:}:${line#*$'\t'}")
            done
            _describe -V PROGRAM names
            ;;
        files)
            [[ $PREFIX == --*=* ]] && compset -P 1 '*='
            _files
            ;;
        command\ *)
            shift ${answer[1]#command } words
            ((CURRENT -= ${answer[1]#command }))
            _normal
            ;;
    esac
}
if [[ $funcstack[1] == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
