
use builtin;
use str;

set edit:completion:arg-completer[infra] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'infra'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'infra'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand login 'Sign in through the browser'
            cand logout 'End the session at the daemon, and forget it here'
            cand status 'Who is signed in where, and until when'
            cand token 'Print the session token for a script, or exit with 3 when there is no live one'
            cand exec 'Run a command that finds a token for one service in its environment'
            cand kubernetes 'Sign in to Kubernetes clusters with the session'
            cand sessions 'The sessions of your account, on whatever machine, and their end'
            cand use 'Make a known server the current one'
            cand trust 'Accept a new identity of a known server'
            cand doctor 'Look for what keeps a login from working, and say what to do about it'
            cand completions 'Print the script that lets a shell complete this program''s arguments'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;login'= {
            cand --provider 'The identity provider, where the server accepts several'
            cand --fingerprint 'The fingerprint of its certification authority, as its operator printed it'
            cand --ca-file 'A PEM file with its certification authority'
            cand --timeout 'How long to wait for the browser, at most 5m'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --no-browser 'Print the URL instead of opening a browser'
            cand --keyring 'Keep a copy of the token in the operating system''s keyring'
            cand --no-keyring 'Keep no copy of the token in the operating system''s keyring'
            cand --force 'Sign in anew, even when there is a live session'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;logout'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --all 'End the sessions at all servers'
            cand --forget 'Forget the server and its fingerprint, too'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;status'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --json 'Print one JSON object, whatever the state'
            cand --offline 'Judge by what is stored here, without the network'
            cand --all 'All known servers'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;token'= {
            cand --audience 'A token that only the service with this audience, or of this name, takes'
            cand --min-left 'Exit with 3 when the session does not last that much longer'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;exec'= {
            cand --audience 'The service''s audience, or its name'
            cand --variable 'The variable of the environment that holds the token'
            cand --min-left 'Have the token last that much longer at least, at most 10m'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;kubernetes'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand configure 'Add a cluster, its user and their context to the kubeconfig'
            cand token 'Print a token for a cluster, as `kubectl` asks for it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;kubernetes;configure'= {
            cand --api-server 'The address of its API server'
            cand --certificate-authority 'A PEM file with the certification authority of its API server; copied into the kubeconfig'
            cand --kubeconfig 'The kubeconfig to change'
            cand --context 'What the context, its cluster and its user are called; the cluster''s name when it is left out'
            cand --namespace 'The namespace of the context'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --use 'Make the context the current one'
            cand --force 'Replace entries of the same names that are not of `infra`'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;kubernetes;token'= {
            cand --cluster 'The cluster''s service: its name or its audience'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;kubernetes;help'= {
            cand configure 'Add a cluster, its user and their context to the kubeconfig'
            cand token 'Print a token for a cluster, as `kubectl` asks for it'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;kubernetes;help;configure'= {
        }
        &'infra;kubernetes;help;token'= {
        }
        &'infra;kubernetes;help;help'= {
        }
        &'infra;sessions'= {
            cand --user 'Those of the user with this e-mail or subject: for administrators'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --json 'Print one JSON object'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand revoke 'End sessions, on whatever machine they are'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;sessions;revoke'= {
            cand --user 'With `--all`, those of the user with this e-mail or subject: for administrators'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --others 'All but the one of this machine'
            cand --all 'All, this one included'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;sessions;help'= {
            cand revoke 'End sessions, on whatever machine they are'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;sessions;help;revoke'= {
        }
        &'infra;sessions;help;help'= {
        }
        &'infra;use'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;trust'= {
            cand --fingerprint 'The fingerprint of its certification authority, as its operator printed it'
            cand --ca-file 'A PEM file with its certification authority'
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --system 'From now on, the certification authorities that this machine trusts vouch for it: for a server that has a public certificate now'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;doctor'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand --json 'Print one JSON object'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;completions'= {
            cand --server 'The server to talk to: `host`, `host:port` or `https://host[:port]`'
            cand --color 'When to use colour'
            cand -v 'Say more about what is done (twice: even more)'
            cand --verbose 'Say more about what is done (twice: even more)'
            cand -q 'Say nothing but warnings and errors'
            cand --quiet 'Say nothing but warnings and errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'infra;help'= {
            cand login 'Sign in through the browser'
            cand logout 'End the session at the daemon, and forget it here'
            cand status 'Who is signed in where, and until when'
            cand token 'Print the session token for a script, or exit with 3 when there is no live one'
            cand exec 'Run a command that finds a token for one service in its environment'
            cand kubernetes 'Sign in to Kubernetes clusters with the session'
            cand sessions 'The sessions of your account, on whatever machine, and their end'
            cand use 'Make a known server the current one'
            cand trust 'Accept a new identity of a known server'
            cand doctor 'Look for what keeps a login from working, and say what to do about it'
            cand completions 'Print the script that lets a shell complete this program''s arguments'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'infra;help;login'= {
        }
        &'infra;help;logout'= {
        }
        &'infra;help;status'= {
        }
        &'infra;help;token'= {
        }
        &'infra;help;exec'= {
        }
        &'infra;help;kubernetes'= {
            cand configure 'Add a cluster, its user and their context to the kubeconfig'
            cand token 'Print a token for a cluster, as `kubectl` asks for it'
        }
        &'infra;help;kubernetes;configure'= {
        }
        &'infra;help;kubernetes;token'= {
        }
        &'infra;help;sessions'= {
            cand revoke 'End sessions, on whatever machine they are'
        }
        &'infra;help;sessions;revoke'= {
        }
        &'infra;help;use'= {
        }
        &'infra;help;trust'= {
        }
        &'infra;help;doctor'= {
        }
        &'infra;help;completions'= {
        }
        &'infra;help;help'= {
        }
    ]
    $completions[$command]
}
