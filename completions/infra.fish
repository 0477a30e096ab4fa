# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_infra_global_optspecs
    string join \n server= v/verbose q/quiet color= h/help V/version
end

function __fish_infra_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_infra_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_infra_using_subcommand
    set -l cmd (__fish_infra_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c infra -n "__fish_infra_needs_command" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_needs_command" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_needs_command" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_needs_command" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_needs_command" -f -a "login" -d 'Sign in through the browser'
complete -c infra -n "__fish_infra_needs_command" -f -a "logout" -d 'End the session at the daemon, and forget it here'
complete -c infra -n "__fish_infra_needs_command" -f -a "status" -d 'Who is signed in where, and until when'
complete -c infra -n "__fish_infra_needs_command" -f -a "token" -d 'Print the session token for a script, or exit with 3 when there is no live one'
complete -c infra -n "__fish_infra_needs_command" -f -a "exec" -d 'Run a command that finds a token for one service in its environment'
complete -c infra -n "__fish_infra_needs_command" -f -a "kubernetes" -d 'Sign in to Kubernetes clusters with the session'
complete -c infra -n "__fish_infra_needs_command" -f -a "sessions" -d 'The sessions of your account, on whatever machine, and their end'
complete -c infra -n "__fish_infra_needs_command" -f -a "use" -d 'Make a known server the current one'
complete -c infra -n "__fish_infra_needs_command" -f -a "trust" -d 'Accept a new identity of a known server'
complete -c infra -n "__fish_infra_needs_command" -f -a "doctor" -d 'Look for what keeps a login from working, and say what to do about it'
complete -c infra -n "__fish_infra_needs_command" -f -a "completions" -d 'Print the script that lets a shell complete this program\'s arguments'
complete -c infra -n "__fish_infra_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand login" -l provider -d 'The identity provider, where the server accepts several' -r
complete -c infra -n "__fish_infra_using_subcommand login" -l fingerprint -d 'The fingerprint of its certification authority, as its operator printed it' -r
complete -c infra -n "__fish_infra_using_subcommand login" -l ca-file -d 'A PEM file with its certification authority' -r -F
complete -c infra -n "__fish_infra_using_subcommand login" -l timeout -d 'How long to wait for the browser, at most 5m' -r
complete -c infra -n "__fish_infra_using_subcommand login" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand login" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand login" -l no-browser -d 'Print the URL instead of opening a browser'
complete -c infra -n "__fish_infra_using_subcommand login" -l keyring -d 'Keep a copy of the token in the operating system\'s keyring'
complete -c infra -n "__fish_infra_using_subcommand login" -l no-keyring -d 'Keep no copy of the token in the operating system\'s keyring'
complete -c infra -n "__fish_infra_using_subcommand login" -l force -d 'Sign in anew, even when there is a live session'
complete -c infra -n "__fish_infra_using_subcommand login" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand login" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand login" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand logout" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand logout" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand logout" -l all -d 'End the sessions at all servers'
complete -c infra -n "__fish_infra_using_subcommand logout" -l forget -d 'Forget the server and its fingerprint, too'
complete -c infra -n "__fish_infra_using_subcommand logout" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand logout" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand logout" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand status" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand status" -l json -d 'Print one JSON object, whatever the state'
complete -c infra -n "__fish_infra_using_subcommand status" -l offline -d 'Judge by what is stored here, without the network'
complete -c infra -n "__fish_infra_using_subcommand status" -l all -d 'All known servers'
complete -c infra -n "__fish_infra_using_subcommand status" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand status" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand status" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand token" -l audience -d 'A token that only the service with this audience, or of this name, takes' -r
complete -c infra -n "__fish_infra_using_subcommand token" -l min-left -d 'Exit with 3 when the session does not last that much longer' -r
complete -c infra -n "__fish_infra_using_subcommand token" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand token" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand token" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand token" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand token" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand exec" -l audience -d 'The service\'s audience, or its name' -r
complete -c infra -n "__fish_infra_using_subcommand exec" -l variable -d 'The variable of the environment that holds the token' -r
complete -c infra -n "__fish_infra_using_subcommand exec" -l min-left -d 'Have the token last that much longer at least, at most 10m' -r
complete -c infra -n "__fish_infra_using_subcommand exec" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand exec" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand exec" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand exec" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand exec" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -f -a "configure" -d 'Add a cluster, its user and their context to the kubeconfig'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -f -a "token" -d 'Print a token for a cluster, as `kubectl` asks for it'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and not __fish_seen_subcommand_from configure token help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l api-server -d 'The address of its API server' -r -f
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l certificate-authority -d 'A PEM file with the certification authority of its API server; copied into the kubeconfig' -r -F
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l kubeconfig -d 'The kubeconfig to change' -r -F
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l context -d 'What the context, its cluster and its user are called; the cluster\'s name when it is left out' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l namespace -d 'The namespace of the context' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l use -d 'Make the context the current one'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -l force -d 'Replace entries of the same names that are not of `infra`'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from configure" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -l cluster -d 'The cluster\'s service: its name or its audience' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from token" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from help" -f -a "configure" -d 'Add a cluster, its user and their context to the kubeconfig'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from help" -f -a "token" -d 'Print a token for a cluster, as `kubectl` asks for it'
complete -c infra -n "__fish_infra_using_subcommand kubernetes; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -l user -d 'Those of the user with this e-mail or subject: for administrators' -r
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -l json -d 'Print one JSON object'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -f -a "revoke" -d 'End sessions, on whatever machine they are'
complete -c infra -n "__fish_infra_using_subcommand sessions; and not __fish_seen_subcommand_from revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l user -d 'With `--all`, those of the user with this e-mail or subject: for administrators' -r
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l others -d 'All but the one of this machine'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l all -d 'All, this one included'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'End sessions, on whatever machine they are'
complete -c infra -n "__fish_infra_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand use" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand use" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand use" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand use" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand use" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand use" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand trust" -l fingerprint -d 'The fingerprint of its certification authority, as its operator printed it' -r
complete -c infra -n "__fish_infra_using_subcommand trust" -l ca-file -d 'A PEM file with its certification authority' -r -F
complete -c infra -n "__fish_infra_using_subcommand trust" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand trust" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand trust" -l system -d 'From now on, the certification authorities that this machine trusts vouch for it: for a server that has a public certificate now'
complete -c infra -n "__fish_infra_using_subcommand trust" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand trust" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand trust" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand trust" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand doctor" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand doctor" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand doctor" -l json -d 'Print one JSON object'
complete -c infra -n "__fish_infra_using_subcommand doctor" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand doctor" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand completions" -l server -d 'The server to talk to: `host`, `host:port` or `https://host[:port]`' -r
complete -c infra -n "__fish_infra_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infra -n "__fish_infra_using_subcommand completions" -s v -l verbose -d 'Say more about what is done (twice: even more)'
complete -c infra -n "__fish_infra_using_subcommand completions" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c infra -n "__fish_infra_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infra -n "__fish_infra_using_subcommand completions" -s V -l version -d 'Print version'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "login" -d 'Sign in through the browser'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "logout" -d 'End the session at the daemon, and forget it here'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "status" -d 'Who is signed in where, and until when'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "token" -d 'Print the session token for a script, or exit with 3 when there is no live one'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "exec" -d 'Run a command that finds a token for one service in its environment'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "kubernetes" -d 'Sign in to Kubernetes clusters with the session'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "sessions" -d 'The sessions of your account, on whatever machine, and their end'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "use" -d 'Make a known server the current one'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "trust" -d 'Accept a new identity of a known server'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "doctor" -d 'Look for what keeps a login from working, and say what to do about it'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "completions" -d 'Print the script that lets a shell complete this program\'s arguments'
complete -c infra -n "__fish_infra_using_subcommand help; and not __fish_seen_subcommand_from login logout status token exec kubernetes sessions use trust doctor completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infra -n "__fish_infra_using_subcommand help; and __fish_seen_subcommand_from kubernetes" -f -a "configure" -d 'Add a cluster, its user and their context to the kubeconfig'
complete -c infra -n "__fish_infra_using_subcommand help; and __fish_seen_subcommand_from kubernetes" -f -a "token" -d 'Print a token for a cluster, as `kubectl` asks for it'
complete -c infra -n "__fish_infra_using_subcommand help; and __fish_seen_subcommand_from sessions" -f -a "revoke" -d 'End sessions, on whatever machine they are'
