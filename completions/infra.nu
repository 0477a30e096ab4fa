module completions {

  def "nu-complete infra color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in to infrastructure from the terminal
  export extern infra [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra login color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in through the browser
  export extern "infra login" [
    --provider: string        # The identity provider, where the server accepts several
    --fingerprint: string     # The fingerprint of its certification authority, as its operator printed it
    --ca-file: path           # A PEM file with its certification authority
    --no-browser              # Print the URL instead of opening a browser
    --keyring                 # Keep a copy of the token in the operating system's keyring
    --no-keyring              # Keep no copy of the token in the operating system's keyring
    --force                   # Sign in anew, even when there is a live session
    --timeout: string         # How long to wait for the browser, at most 5m
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra login color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server; the current one when it is left out
  ]

  def "nu-complete infra logout color" [] {
    [ "auto" "always" "never" ]
  }

  # End the session at the daemon, and forget it here
  export extern "infra logout" [
    --all                     # End the sessions at all servers
    --forget                  # Forget the server and its fingerprint, too
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra logout color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server; the current one when it is left out
  ]

  def "nu-complete infra status color" [] {
    [ "auto" "always" "never" ]
  }

  # Who is signed in where, and until when
  export extern "infra status" [
    --json                    # Print one JSON object, whatever the state
    --offline                 # Judge by what is stored here, without the network
    --all                     # All known servers
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server; the current one when it is left out
  ]

  def "nu-complete infra token color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the session token for a script, or exit with 3 when there is no live one
  export extern "infra token" [
    --audience: string        # A token that only the service with this audience, or of this name, takes
    --min-left: string        # Exit with 3 when the session does not last that much longer
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra token color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server; the current one when it is left out
  ]

  def "nu-complete infra exec color" [] {
    [ "auto" "always" "never" ]
  }

  # Run a command that finds a token for one service in its environment
  export extern "infra exec" [
    --audience: string        # The service's audience, or its name
    --variable: string        # The variable of the environment that holds the token
    --min-left: string        # Have the token last that much longer at least, less than 10m
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra exec color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra kubernetes color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in to Kubernetes clusters with the session
  export extern "infra kubernetes" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra kubernetes color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra kubernetes configure color" [] {
    [ "auto" "always" "never" ]
  }

  # Add a cluster, its user and their context to the kubeconfig
  export extern "infra kubernetes configure" [
    --api-server: string      # The address of its API server
    --certificate-authority: path # A PEM file with the certification authority of its API server; copied into the kubeconfig
    --kubeconfig: path        # The kubeconfig to change
    --context: string         # What the context, its cluster and its user are called; the cluster's name when it is left out
    --namespace: string       # The namespace of the context
    --use                     # Make the context the current one
    --force                   # Replace entries of the same name that `infra` did not make
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra kubernetes configure color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    cluster: string           # The cluster, as the daemon's configuration names the service, or its audience
  ]

  def "nu-complete infra kubernetes token color" [] {
    [ "auto" "always" "never" ]
  }

  # Print a token for a cluster, as `kubectl` asks for it
  export extern "infra kubernetes token" [
    --cluster: string         # The cluster's service: its name or its audience
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra kubernetes token color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra kubernetes help" [
  ]

  # Add a cluster, its user and their context to the kubeconfig
  export extern "infra kubernetes help configure" [
  ]

  # Print a token for a cluster, as `kubectl` asks for it
  export extern "infra kubernetes help token" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra kubernetes help help" [
  ]

  def "nu-complete infra sessions color" [] {
    [ "auto" "always" "never" ]
  }

  # The sessions of your account, on whatever machine, and their end
  export extern "infra sessions" [
    --user: string            # Those of the user with this e-mail or subject: for administrators
    --json                    # Print one JSON object
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra sessions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra sessions revoke color" [] {
    [ "auto" "always" "never" ]
  }

  # End sessions, on whatever machine they are
  export extern "infra sessions revoke" [
    --others                  # All but the one of this machine
    --all                     # All, this one included
    --user: string            # With `--all`, those of the user with this e-mail or subject: for administrators
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra sessions revoke color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...ids: string            # The ids, as `infra sessions` prints them
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra sessions help" [
  ]

  # End sessions, on whatever machine they are
  export extern "infra sessions help revoke" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra sessions help help" [
  ]

  def "nu-complete infra use color" [] {
    [ "auto" "always" "never" ]
  }

  # Make a known server the current one
  export extern "infra use" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra use color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server: string            # A server that was signed in to before
  ]

  def "nu-complete infra trust color" [] {
    [ "auto" "always" "never" ]
  }

  # Accept a new identity of a known server
  export extern "infra trust" [
    --fingerprint: string     # The fingerprint of its certification authority, as its operator printed it
    --ca-file: path           # A PEM file with its certification authority
    --system                  # From now on, the certification authorities that this machine trusts vouch for it: for a server that has a public certificate now
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra trust color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server: string            # A known server
  ]

  def "nu-complete infra doctor color" [] {
    [ "auto" "always" "never" ]
  }

  # Look for what keeps a login from working, and say what to do about it
  export extern "infra doctor" [
    --json                    # Print one JSON object
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra doctor color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server; every known one when it is left out
  ]

  def "nu-complete infra completions shell" [] {
    [ "bash" "elvish" "fish" "nushell" "powershell" "zsh" ]
  }

  def "nu-complete infra completions color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the script that lets a shell complete this program's arguments
  export extern "infra completions" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Say more about what is done (twice: even more)
    --quiet(-q)               # Say nothing but warnings and errors
    --color: string@"nu-complete infra completions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    shell: string@"nu-complete infra completions shell" # The shell
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra help" [
  ]

  # Sign in through the browser
  export extern "infra help login" [
  ]

  # End the session at the daemon, and forget it here
  export extern "infra help logout" [
  ]

  # Who is signed in where, and until when
  export extern "infra help status" [
  ]

  # Print the session token for a script, or exit with 3 when there is no live one
  export extern "infra help token" [
  ]

  # Run a command that finds a token for one service in its environment
  export extern "infra help exec" [
  ]

  # Sign in to Kubernetes clusters with the session
  export extern "infra help kubernetes" [
  ]

  # Add a cluster, its user and their context to the kubeconfig
  export extern "infra help kubernetes configure" [
  ]

  # Print a token for a cluster, as `kubectl` asks for it
  export extern "infra help kubernetes token" [
  ]

  # The sessions of your account, on whatever machine, and their end
  export extern "infra help sessions" [
  ]

  # End sessions, on whatever machine they are
  export extern "infra help sessions revoke" [
  ]

  # Make a known server the current one
  export extern "infra help use" [
  ]

  # Accept a new identity of a known server
  export extern "infra help trust" [
  ]

  # Look for what keeps a login from working, and say what to do about it
  export extern "infra help doctor" [
  ]

  # Print the script that lets a shell complete this program's arguments
  export extern "infra help completions" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra help help" [
  ]

}

export use completions *
