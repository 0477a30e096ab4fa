
use builtin;
use str;

set edit:completion:arg-completer[infrad] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'infrad'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'infrad'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand serve 'Run the daemon'
            cand check 'Check the configuration and the certificate files, without a network and without reading a client secret'
            cand status 'Ask the running daemon how it is'
            cand key 'Look at the keys that protect the store, and change them'
            cand backup 'Write an encrypted backup to a file, while the daemon runs or not'
            cand restore 'Restore a backup into the data directory, while no daemon runs'
            cand dev 'Try it out: a daemon on loopback with a development identity provider, in a throw-away directory'
            cand fingerprint 'Print the fingerprint that users give to `infra login --fingerprint`'
            cand ca 'The daemon''s own certification authority, which users prove it by'
            cand certificate 'The certificate that the running daemon serves with; `infrad status` shows it'
            cand sessions 'The sessions of users: see them, and end them'
            cand audit 'The audit log, which the configuration names'
            cand as-service 'Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox'
            cand completions 'Print the script that lets a shell complete this program''s arguments'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;serve'= {
            cand --domain 'Serve this DNS name, with a certificate of Let''s Encrypt as soon as it leads here; may be repeated'
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --accept-rollback 'Start with data that is older than this host has seen, and end all sessions in it'
            cand --new-store 'Create a new store in an empty data directory, although this host has seen another store'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;check'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --live 'Also read each secret, use each root key, ask each provider and the ACME directory: nothing of a secret is shown'
            cand --json 'Print the result as JSON'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;status'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --json 'Print the answer as JSON'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand status 'Say which root key wraps the data key, and whether there is a recovery key'
            cand rewrap 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
            cand rotate 'Move the store to a new data key, while the daemon runs or not'
            cand recovery 'An offline key that opens the store and its backups when the root key is lost'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;key;status'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --json 'Print it as JSON'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key;rewrap'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --recovery 'Open the data with the recovery key, which is asked for, or read from standard input; while no daemon runs'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key;rotate'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key;recovery'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand create 'Make a recovery key and print it, this once; the one from before opens what is written from now on no more'
            cand test 'Say whether a recovery key, which is asked for or read from standard input, opens the store'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;key;recovery;create'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key;recovery;test'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;key;recovery;help'= {
            cand create 'Make a recovery key and print it, this once; the one from before opens what is written from now on no more'
            cand test 'Say whether a recovery key, which is asked for or read from standard input, opens the store'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;key;recovery;help;create'= {
        }
        &'infrad;key;recovery;help;test'= {
        }
        &'infrad;key;recovery;help;help'= {
        }
        &'infrad;key;help'= {
            cand status 'Say which root key wraps the data key, and whether there is a recovery key'
            cand rewrap 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
            cand rotate 'Move the store to a new data key, while the daemon runs or not'
            cand recovery 'An offline key that opens the store and its backups when the root key is lost'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;key;help;status'= {
        }
        &'infrad;key;help;rewrap'= {
        }
        &'infrad;key;help;rotate'= {
        }
        &'infrad;key;help;recovery'= {
            cand create 'Make a recovery key and print it, this once; the one from before opens what is written from now on no more'
            cand test 'Say whether a recovery key, which is asked for or read from standard input, opens the store'
        }
        &'infrad;key;help;recovery;create'= {
        }
        &'infrad;key;help;recovery;test'= {
        }
        &'infrad;key;help;help'= {
        }
        &'infrad;backup'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand verify 'Read a backup from its beginning to its end, and say whether it could be restored'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;backup;verify'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --recovery 'Open it with the recovery key, which is asked for, or read from standard input'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;backup;help'= {
            cand verify 'Read a backup from its beginning to its end, and say whether it could be restored'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;backup;help;verify'= {
        }
        &'infrad;backup;help;help'= {
        }
        &'infrad;restore'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --recovery 'Open it with the recovery key, which is asked for, or read from standard input'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;dev'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;fingerprint'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;ca'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand print 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
            cand rotate 'Have another authority take over, after a time in which users are told of it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;ca;print'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --next 'The one that is to come, after `infrad ca rotate`'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;ca;rotate'= {
            cand --overlap 'How long the present one goes on, such as `30d` or `12h`; `0s` takes it out of use at once, for when its key is known to others'
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --replace 'Have it take the place of one that was announced before: who heard of that one, and does not come by again, has to accept the new fingerprint'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;ca;help'= {
            cand print 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
            cand rotate 'Have another authority take over, after a time in which users are told of it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;ca;help;print'= {
        }
        &'infrad;ca;help;rotate'= {
        }
        &'infrad;ca;help;help'= {
        }
        &'infrad;certificate'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand renew 'Get a new one now, whether one is due or not; by ACME, this counts against the authority''s limits'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;certificate;renew'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;certificate;help'= {
            cand renew 'Get a new one now, whether one is due or not; by ACME, this counts against the authority''s limits'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;certificate;help;renew'= {
        }
        &'infrad;certificate;help;help'= {
        }
        &'infrad;sessions'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'The live sessions, the newest first for each user'
            cand end 'End sessions: refused within a second, on connections that are open, too'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;sessions;list'= {
            cand --user 'Of the user with this e-mail or subject alone'
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --json 'Print them as JSON'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;sessions;end'= {
            cand --user 'All of the user with this e-mail or subject'
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --all 'All of everybody'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;sessions;help'= {
            cand list 'The live sessions, the newest first for each user'
            cand end 'End sessions: refused within a second, on connections that are open, too'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;sessions;help;list'= {
        }
        &'infrad;sessions;help;end'= {
        }
        &'infrad;sessions;help;help'= {
        }
        &'infrad;audit'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand verify 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;audit;verify'= {
            cand --file 'The log, in the place of the configured one; what was set aside of it (FILE.1 and so on) is verified with it'
            cand --head 'The head that an earlier run printed: check that the log is unchanged up to that line'
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand --json 'Print the result as JSON'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;audit;help'= {
            cand verify 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;audit;help;verify'= {
        }
        &'infrad;audit;help;help'= {
        }
        &'infrad;as-service'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;completions'= {
            cand --config 'The configuration file'
            cand --color 'When to use colour'
            cand -v 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand --verbose 'Log more than the configuration says: once for `debug`, twice for `trace`'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infrad;help'= {
            cand serve 'Run the daemon'
            cand check 'Check the configuration and the certificate files, without a network and without reading a client secret'
            cand status 'Ask the running daemon how it is'
            cand key 'Look at the keys that protect the store, and change them'
            cand backup 'Write an encrypted backup to a file, while the daemon runs or not'
            cand restore 'Restore a backup into the data directory, while no daemon runs'
            cand dev 'Try it out: a daemon on loopback with a development identity provider, in a throw-away directory'
            cand fingerprint 'Print the fingerprint that users give to `infra login --fingerprint`'
            cand ca 'The daemon''s own certification authority, which users prove it by'
            cand certificate 'The certificate that the running daemon serves with; `infrad status` shows it'
            cand sessions 'The sessions of users: see them, and end them'
            cand audit 'The audit log, which the configuration names'
            cand as-service 'Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox'
            cand completions 'Print the script that lets a shell complete this program''s arguments'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infrad;help;serve'= {
        }
        &'infrad;help;check'= {
        }
        &'infrad;help;status'= {
        }
        &'infrad;help;key'= {
            cand status 'Say which root key wraps the data key, and whether there is a recovery key'
            cand rewrap 'Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew'
            cand rotate 'Move the store to a new data key, while the daemon runs or not'
            cand recovery 'An offline key that opens the store and its backups when the root key is lost'
        }
        &'infrad;help;key;status'= {
        }
        &'infrad;help;key;rewrap'= {
        }
        &'infrad;help;key;rotate'= {
        }
        &'infrad;help;key;recovery'= {
            cand create 'Make a recovery key and print it, this once; the one from before opens what is written from now on no more'
            cand test 'Say whether a recovery key, which is asked for or read from standard input, opens the store'
        }
        &'infrad;help;key;recovery;create'= {
        }
        &'infrad;help;key;recovery;test'= {
        }
        &'infrad;help;backup'= {
            cand verify 'Read a backup from its beginning to its end, and say whether it could be restored'
        }
        &'infrad;help;backup;verify'= {
        }
        &'infrad;help;restore'= {
        }
        &'infrad;help;dev'= {
        }
        &'infrad;help;fingerprint'= {
        }
        &'infrad;help;ca'= {
            cand print 'Print its certificate as PEM, for `infra login --ca-file` and other clients'
            cand rotate 'Have another authority take over, after a time in which users are told of it'
        }
        &'infrad;help;ca;print'= {
        }
        &'infrad;help;ca;rotate'= {
        }
        &'infrad;help;certificate'= {
            cand renew 'Get a new one now, whether one is due or not; by ACME, this counts against the authority''s limits'
        }
        &'infrad;help;certificate;renew'= {
        }
        &'infrad;help;sessions'= {
            cand list 'The live sessions, the newest first for each user'
            cand end 'End sessions: refused within a second, on connections that are open, too'
        }
        &'infrad;help;sessions;list'= {
        }
        &'infrad;help;sessions;end'= {
        }
        &'infrad;help;audit'= {
            cand verify 'Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself'
        }
        &'infrad;help;audit;verify'= {
        }
        &'infrad;help;as-service'= {
        }
        &'infrad;help;completions'= {
        }
        &'infrad;help;help'= {
        }
    ]
    $completions[$command]
}
