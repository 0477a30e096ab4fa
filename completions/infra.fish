function _infra_answer
    set -lx INFRA_COMPLETE fish
    command infra -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor) 2>/dev/null
end

function _infra_names
    set -l answer (_infra_answer)
    switch "$answer[1]"
        case names
            string join \n -- $answer[2..-1]
        case 'command *'
            # What fish would offer for that command alone. It only reads the line.
            set -l first (math (string replace 'command ' '' -- $answer[1]) + 1)
            set -l words (commandline --current-process --tokenize --cut-at-cursor)
            set words $words[$first..-1]
            set -l line (string escape -- $words) (commandline --current-token --cut-at-cursor)
            complete --do-complete (string join ' ' -- $line)
    end
end

complete --command infra --no-files --keep-order --arguments '(_infra_names)'
complete --command infra --condition '_infra_answer | string match --quiet files' --force-files
