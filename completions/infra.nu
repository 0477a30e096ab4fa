module completions {

  def "nu-complete infra color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in to infrastructure from the terminal
  export extern infra [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra login color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in through the browser
  export extern "infra login" [
    --provider: string        # The identity provider, if the server accepts several
    --fingerprint: string     # The fingerprint of its certification authority, from its operator
    --ca-file: path           # A PEM file with its certification authority
    --no-browser              # Print the URL instead of opening a browser
    --keyring                 # Keep a copy of the token in the operating system's keyring
    --no-keyring              # Keep no copy of the token in the operating system's keyring
    --force                   # Sign in again, even if you are signed in: revokes the current session with all its tokens
    --timeout: string         # How long to wait for the browser, at most 5m
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra login color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server, by default the current one
  ]

  def "nu-complete infra logout color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign out: revoke the session at the daemon and delete it here
  export extern "infra logout" [
    --all                     # Sign out of all servers
    --forget                  # Also forget the server and its fingerprint
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra logout color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server, by default the current one
  ]

  def "nu-complete infra status color" [] {
    [ "auto" "always" "never" ]
  }

  # Show where you are signed in, as which user and until when
  export extern "infra status" [
    --json                    # Print one JSON object in every state
    --offline                 # Use only what is stored here, without the network
    --all                     # All known servers
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server, by default the current one
  ]

  def "nu-complete infra token format" [] {
    [ "text" "headers" ]
  }

  def "nu-complete infra token color" [] {
    [ "auto" "always" "never" ]
  }

  # Print a token for a script, or exit with 3 if you are not signed in
  export extern "infra token" [
    --audience: string        # Print a token that only the service with this audience or name accepts
    --format: string@"nu-complete infra token format" # What to print; `headers` needs `--audience`
    --min-left: string        # Exit with 3 if the session expires earlier, unused, by what is stored here; with `--audience`, get a token that lasts that long, less than 10m
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra token color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server, by default the current one
  ]

  def "nu-complete infra exec color" [] {
    [ "auto" "always" "never" ]
  }

  # Run a command with a token for one service in its environment
  export extern "infra exec" [
    --audience: string        # The service's audience, or its name
    --variable: string        # The environment variable for the token
    --min-left: string        # Minimum time that the token stays valid, less than 10m
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra exec color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra delegate color" [] {
    [ "auto" "always" "never" ]
  }

  # Run a command with a session of its own, limited to some services
  export extern "infra delegate" [
    --audience: string        # The audience of a service, or its name; several with commas in between
    --for: string             # How long the session lasts, at most as long as yours
    --name: string            # The label in `infra sessions`, by default the name of the command
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra delegate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra kubernetes color" [] {
    [ "auto" "always" "never" ]
  }

  # Sign in to Kubernetes clusters with the session
  export extern "infra kubernetes" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
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
    --certificate-authority: path # A PEM file with the certification authority of its API server, copied to the kubeconfig
    --kubeconfig: path        # The kubeconfig to change
    --context: string         # Name of the context, its cluster and its user, by default the cluster's name
    --namespace: string       # The namespace of the context
    --use                     # Make the context the current one
    --force                   # Replace entries of the same name that `infra` did not make
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra kubernetes configure color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    cluster: string           # The cluster: the name or audience of its service in the daemon's configuration
  ]

  def "nu-complete infra kubernetes token color" [] {
    [ "auto" "always" "never" ]
  }

  # Print a token for a cluster, in the format that `kubectl` expects
  export extern "infra kubernetes token" [
    --cluster: string         # The cluster's service: its name or its audience
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
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

  # Print a token for a cluster, in the format that `kubectl` expects
  export extern "infra kubernetes help token" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra kubernetes help help" [
  ]

  def "nu-complete infra helper color" [] {
    [ "auto" "always" "never" ]
  }

  # Answer git, Docker and Bazel when they need a credential
  export extern "infra helper" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra helper color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra helper git color" [] {
    [ "auto" "always" "never" ]
  }

  # Answer git: a credential helper for git servers
  export extern "infra helper git" [
    --audience: string        # The service's audience, or its name
    --host: string            # A host that gets the token, over https: `host` or `host:port`. Repeat it for more
    --username: string        # The user name that goes with the token as a password
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra helper git color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    operation: string         # What git asks for: `get`. Others do nothing
  ]

  def "nu-complete infra helper docker operation" [] {
    [ "get" "store" "erase" "list" ]
  }

  def "nu-complete infra helper docker color" [] {
    [ "auto" "always" "never" ]
  }

  # Answer Docker, Podman and Skopeo: a credential helper for registries
  export extern "infra helper docker" [
    --audience: string        # The service's audience, or its name
    --host: string            # A host that gets the token, over https: `host` or `host:port`. Repeat it for more
    --username: string        # The user name that goes with the token as a password
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra helper docker color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    operation: string@"nu-complete infra helper docker operation" # What the tool asks for
  ]

  def "nu-complete infra helper bazel operation" [] {
    [ "get" ]
  }

  def "nu-complete infra helper bazel color" [] {
    [ "auto" "always" "never" ]
  }

  # Answer Bazel and other build tools: a credential helper for caches and downloads
  export extern "infra helper bazel" [
    --audience: string        # The service's audience, or its name
    --host: string            # A host that gets the token, over https: `host` or `host:port`. Repeat it for more
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra helper bazel color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    operation: string@"nu-complete infra helper bazel operation" # What the tool asks for
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra helper help" [
  ]

  # Answer git: a credential helper for git servers
  export extern "infra helper help git" [
  ]

  # Answer Docker, Podman and Skopeo: a credential helper for registries
  export extern "infra helper help docker" [
  ]

  # Answer Bazel and other build tools: a credential helper for caches and downloads
  export extern "infra helper help bazel" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra helper help help" [
  ]

  def "nu-complete infra sessions color" [] {
    [ "auto" "always" "never" ]
  }

  # List your sessions on all machines, or revoke them
  export extern "infra sessions" [
    --user: string            # For administrators: the sessions of the user with this e-mail address or subject
    --json                    # Print one JSON object
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra sessions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infra sessions revoke color" [] {
    [ "auto" "always" "never" ]
  }

  # Revoke sessions on any machine
  export extern "infra sessions revoke" [
    --others                  # All sessions except the one on this machine
    --all                     # All sessions, including this one
    --user: string            # For administrators, with `--all`: the sessions of the user with this e-mail address or subject
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra sessions revoke color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...ids: string            # IDs from `infra sessions`
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra sessions help" [
  ]

  # Revoke sessions on any machine
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
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra use color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server: string            # A server at which you have signed in before
  ]

  def "nu-complete infra trust color" [] {
    [ "auto" "always" "never" ]
  }

  # Accept a new identity of a known server
  export extern "infra trust" [
    --fingerprint: string     # The fingerprint of its certification authority, from its operator
    --ca-file: path           # A PEM file with its certification authority
    --system                  # Trust the certification authorities of this machine, for a server that has a public certificate now
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra trust color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server: string            # A known server
  ]

  def "nu-complete infra doctor color" [] {
    [ "auto" "always" "never" ]
  }

  # Find what keeps you from signing in, and show how to fix it
  export extern "infra doctor" [
    --json                    # Print one JSON object
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
    --color: string@"nu-complete infra doctor color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    server?: string           # The server, by default every known one
  ]

  def "nu-complete infra completions shell" [] {
    [ "bash" "elvish" "fish" "nushell" "powershell" "zsh" ]
  }

  def "nu-complete infra completions color" [] {
    [ "auto" "always" "never" ]
  }

  # Print a shell's completion script
  export extern "infra completions" [
    --server: string          # The server to talk to: `host`, `host:port` or `https://host[:port]`
    --verbose(-v)             # Show what the command does (twice: more details)
    --quiet(-q)               # Show only warnings and errors
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

  # Sign out: revoke the session at the daemon and delete it here
  export extern "infra help logout" [
  ]

  # Show where you are signed in, as which user and until when
  export extern "infra help status" [
  ]

  # Print a token for a script, or exit with 3 if you are not signed in
  export extern "infra help token" [
  ]

  # Run a command with a token for one service in its environment
  export extern "infra help exec" [
  ]

  # Run a command with a session of its own, limited to some services
  export extern "infra help delegate" [
  ]

  # Sign in to Kubernetes clusters with the session
  export extern "infra help kubernetes" [
  ]

  # Add a cluster, its user and their context to the kubeconfig
  export extern "infra help kubernetes configure" [
  ]

  # Print a token for a cluster, in the format that `kubectl` expects
  export extern "infra help kubernetes token" [
  ]

  # Answer git, Docker and Bazel when they need a credential
  export extern "infra help helper" [
  ]

  # Answer git: a credential helper for git servers
  export extern "infra help helper git" [
  ]

  # Answer Docker, Podman and Skopeo: a credential helper for registries
  export extern "infra help helper docker" [
  ]

  # Answer Bazel and other build tools: a credential helper for caches and downloads
  export extern "infra help helper bazel" [
  ]

  # List your sessions on all machines, or revoke them
  export extern "infra help sessions" [
  ]

  # Revoke sessions on any machine
  export extern "infra help sessions revoke" [
  ]

  # Make a known server the current one
  export extern "infra help use" [
  ]

  # Accept a new identity of a known server
  export extern "infra help trust" [
  ]

  # Find what keeps you from signing in, and show how to fix it
  export extern "infra help doctor" [
  ]

  # Print a shell's completion script
  export extern "infra help completions" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infra help help" [
  ]

}

export use completions *
