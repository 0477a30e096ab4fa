function _infrad_answer
    set -lx INFRAD_COMPLETE fish
    command infrad -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor) 2>/dev/null
end

function _infrad_names
    set -l answer (_infrad_answer)
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

complete --command infrad --no-files --keep-order --arguments '(_infrad_names)'
complete --command infrad --condition '_infrad_answer | string match --quiet files' --force-files
