# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_infrad_global_optspecs
    string join \n config= v/verbose q/quiet color= h/help V/version
end

function __fish_infrad_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_infrad_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_infrad_using_subcommand
    set -l cmd (__fish_infrad_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c infrad -n "__fish_infrad_needs_command" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_needs_command" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_needs_command" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_needs_command" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "serve" -d 'Run the daemon'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "check" -d 'Check the configuration and the certificate files, without a network and without reading a client secret'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "status" -d 'Ask the running daemon how it is'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "key" -d 'Look at the keys that protect the store, and change them'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "backup" -d 'Write an encrypted backup to a file, while the daemon runs or not'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "restore" -d 'Restore a backup into the data directory, while no daemon runs'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "dev" -d 'Try it out: a daemon on loopback with a development identity provider, in a throw-away directory'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "fingerprint" -d 'Print the fingerprint that users give to `infra login --fingerprint`'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "ca" -d 'The daemon\'s own certification authority, which users prove it by'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "certificate" -d 'The certificate that the running daemon serves with; `infrad status` shows it'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "sessions" -d 'The sessions of users: see them, and end them'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "audit" -d 'The audit log, which the configuration names'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "as-service" -d 'Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "completions" -d 'Print the script that lets a shell complete this program\'s arguments'
complete -c infrad -n "__fish_infrad_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -l domain -d 'Serve this DNS name, with a certificate of Let\'s Encrypt as soon as it leads here; may be repeated' -r
complete -c infrad -n "__fish_infrad_using_subcommand serve" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand serve" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand serve" -l accept-rollback -d 'Start with data that is older than this host has seen, and end all sessions in it'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -l new-store -d 'Create a new store in an empty data directory, although this host has seen another store'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand serve" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand check" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand check" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand check" -l live -d 'Also read each secret, use each root key, ask each provider and the ACME directory: nothing of a secret is shown'
complete -c infrad -n "__fish_infrad_using_subcommand check" -l json -d 'Print the result as JSON'
complete -c infrad -n "__fish_infrad_using_subcommand check" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand check" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand check" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand status" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand status" -l json -d 'Print the answer as JSON'
complete -c infrad -n "__fish_infrad_using_subcommand status" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand status" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand status" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -f -a "status" -d 'Say which root key wraps the data key, and whether there is a recovery key'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -f -a "rewrap" -d 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -f -a "rotate" -d 'Move the store to a new data key, while the daemon runs or not'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -f -a "recovery" -d 'An offline key that opens the store and its backups when the root key is lost'
complete -c infrad -n "__fish_infrad_using_subcommand key; and not __fish_seen_subcommand_from status rewrap rotate recovery help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -l json -d 'Print it as JSON'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -l recovery -d 'Open the data with the recovery key, which is asked for, or read from standard input; while no daemon runs'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rewrap" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from rotate" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -f -a "create" -d 'Make a recovery key and print it, this once; the one from before opens what is written from now on no more'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -f -a "test" -d 'Say whether a recovery key, which is asked for or read from standard input, opens the store'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from recovery" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "status" -d 'Say which root key wraps the data key, and whether there is a recovery key'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rewrap" -d 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Move the store to a new data key, while the daemon runs or not'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "recovery" -d 'An offline key that opens the store and its backups when the root key is lost'
complete -c infrad -n "__fish_infrad_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -a "verify" -d 'Read a backup from its beginning to its end, and say whether it could be restored'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and not __fish_seen_subcommand_from verify help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -l recovery -d 'Open it with the recovery key, which is asked for, or read from standard input'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from verify" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Read a backup from its beginning to its end, and say whether it could be restored'
complete -c infrad -n "__fish_infrad_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand restore" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand restore" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand restore" -l recovery -d 'Open it with the recovery key, which is asked for, or read from standard input'
complete -c infrad -n "__fish_infrad_using_subcommand restore" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand restore" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand restore" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand dev" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand dev" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand dev" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand dev" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand dev" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand dev" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand fingerprint" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -f -a "print" -d 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -f -a "rotate" -d 'Have another authority take over, after a time in which users are told of it'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and not __fish_seen_subcommand_from print rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -l next -d 'The one that is to come, after `infrad ca rotate`'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from print" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l overlap -d 'How long the present one goes on, such as `30d` or `12h`; `0s` takes it out of use at once, for when its key is known to others' -r
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l replace -d 'Have it take the place of one that was announced before: who heard of that one, and does not come by again, has to accept the new fingerprint'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "print" -d 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Have another authority take over, after a time in which users are told of it'
complete -c infrad -n "__fish_infrad_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -f -a "renew" -d 'Get a new one now, whether one is due or not; by ACME, this counts against the authority\'s limits'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and not __fish_seen_subcommand_from renew help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from renew" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from help" -f -a "renew" -d 'Get a new one now, whether one is due or not; by ACME, this counts against the authority\'s limits'
complete -c infrad -n "__fish_infrad_using_subcommand certificate; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -f -a "list" -d 'The live sessions, the newest first for each user'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -f -a "end" -d 'End sessions: refused within a second, on connections that are open, too'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and not __fish_seen_subcommand_from list end help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -l user -d 'Of the user with this e-mail or subject alone' -r
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -l json -d 'Print them as JSON'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -l user -d 'All of the user with this e-mail or subject' -r
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -l all -d 'All of everybody'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from end" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "list" -d 'The live sessions, the newest first for each user'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "end" -d 'End sessions: refused within a second, on connections that are open, too'
complete -c infrad -n "__fish_infrad_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "verify" -d 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and not __fish_seen_subcommand_from verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -l file -d 'The log, in the place of the configured one; what was set aside of it (FILE.1 and so on) is verified with it' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -l head -d 'The head that an earlier run printed: check that the log is unchanged up to that line' -r
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -l json -d 'Print the result as JSON'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from verify" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
complete -c infrad -n "__fish_infrad_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand as-service" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand completions" -l config -d 'The configuration file' -r -F
complete -c infrad -n "__fish_infrad_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c infrad -n "__fish_infrad_using_subcommand completions" -s v -l verbose -d 'Log more than the configuration says: once for `debug`, twice for `trace`'
complete -c infrad -n "__fish_infrad_using_subcommand completions" -s q -l quiet -d 'Say nothing but errors'
complete -c infrad -n "__fish_infrad_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c infrad -n "__fish_infrad_using_subcommand completions" -s V -l version -d 'Print version'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "serve" -d 'Run the daemon'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "check" -d 'Check the configuration and the certificate files, without a network and without reading a client secret'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "status" -d 'Ask the running daemon how it is'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "key" -d 'Look at the keys that protect the store, and change them'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "backup" -d 'Write an encrypted backup to a file, while the daemon runs or not'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "restore" -d 'Restore a backup into the data directory, while no daemon runs'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "dev" -d 'Try it out: a daemon on loopback with a development identity provider, in a throw-away directory'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "fingerprint" -d 'Print the fingerprint that users give to `infra login --fingerprint`'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "ca" -d 'The daemon\'s own certification authority, which users prove it by'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "certificate" -d 'The certificate that the running daemon serves with; `infrad status` shows it'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "sessions" -d 'The sessions of users: see them, and end them'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "audit" -d 'The audit log, which the configuration names'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "as-service" -d 'Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "completions" -d 'Print the script that lets a shell complete this program\'s arguments'
complete -c infrad -n "__fish_infrad_using_subcommand help; and not __fish_seen_subcommand_from serve check status key backup restore dev fingerprint ca certificate sessions audit as-service completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "status" -d 'Say which root key wraps the data key, and whether there is a recovery key'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rewrap" -d 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rotate" -d 'Move the store to a new data key, while the daemon runs or not'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "recovery" -d 'An offline key that opens the store and its backups when the root key is lost'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "verify" -d 'Read a backup from its beginning to its end, and say whether it could be restored'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "print" -d 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "rotate" -d 'Have another authority take over, after a time in which users are told of it'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from certificate" -f -a "renew" -d 'Get a new one now, whether one is due or not; by ACME, this counts against the authority\'s limits'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from sessions" -f -a "list" -d 'The live sessions, the newest first for each user'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from sessions" -f -a "end" -d 'End sessions: refused within a second, on connections that are open, too'
complete -c infrad -n "__fish_infrad_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "verify" -d 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
