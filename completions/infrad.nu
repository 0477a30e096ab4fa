module completions {

  def "nu-complete infrad color" [] {
    [ "auto" "always" "never" ]
  }

  # Signs users in with your OpenID Provider, keeps their sessions, and answers whose token it was shown
  export extern infrad [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad serve color" [] {
    [ "auto" "always" "never" ]
  }

  # Run the daemon
  export extern "infrad serve" [
    --accept-rollback         # Start with data that is older than this host has seen, and end all sessions in it
    --new-store               # Create a new store in an empty data directory, although this host has seen another store
    --domain: string          # Serve this DNS name, with a certificate of Let's Encrypt as soon as it leads here; may be repeated
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad serve color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad check color" [] {
    [ "auto" "always" "never" ]
  }

  # Check the configuration, and the files and variables that it names, without a network
  export extern "infrad check" [
    --live                    # Also read each secret, use each root key, ask each provider and the ACME directory: nothing of a secret is shown
    --json                    # Print the result as JSON
    --schema                  # Print the JSON Schema of the configuration, for editors, and check nothing
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad check color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad status color" [] {
    [ "auto" "always" "never" ]
  }

  # Ask the running daemon how it is
  export extern "infrad status" [
    --json                    # Print the answer as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key color" [] {
    [ "auto" "always" "never" ]
  }

  # Look at the keys that protect the store, and change them
  export extern "infrad key" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key status color" [] {
    [ "auto" "always" "never" ]
  }

  # Say which root key wraps the data key, and whether there is a recovery key
  export extern "infrad key status" [
    --json                    # Print it as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key rewrap color" [] {
    [ "auto" "always" "never" ]
  }

  # Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew
  export extern "infrad key rewrap" [
    --recovery                # Open the data with the recovery key, which is asked for, or read from standard input; while no daemon runs
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key rewrap color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key rotate color" [] {
    [ "auto" "always" "never" ]
  }

  # Move the store to a new data key, while the daemon runs or not
  export extern "infrad key rotate" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key rotate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery color" [] {
    [ "auto" "always" "never" ]
  }

  # An offline key that opens the store and its backups when the root key is lost
  export extern "infrad key recovery" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key recovery color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery create color" [] {
    [ "auto" "always" "never" ]
  }

  # Make a recovery key and print it, this once; the one from before opens what is written from now on no more
  export extern "infrad key recovery create" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key recovery create color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery test color" [] {
    [ "auto" "always" "never" ]
  }

  # Say whether a recovery key, which is asked for or read from standard input, opens the store
  export extern "infrad key recovery test" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad key recovery test color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key recovery help" [
  ]

  # Make a recovery key and print it, this once; the one from before opens what is written from now on no more
  export extern "infrad key recovery help create" [
  ]

  # Say whether a recovery key, which is asked for or read from standard input, opens the store
  export extern "infrad key recovery help test" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key recovery help help" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key help" [
  ]

  # Say which root key wraps the data key, and whether there is a recovery key
  export extern "infrad key help status" [
  ]

  # Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew
  export extern "infrad key help rewrap" [
  ]

  # Move the store to a new data key, while the daemon runs or not
  export extern "infrad key help rotate" [
  ]

  # An offline key that opens the store and its backups when the root key is lost
  export extern "infrad key help recovery" [
  ]

  # Make a recovery key and print it, this once; the one from before opens what is written from now on no more
  export extern "infrad key help recovery create" [
  ]

  # Say whether a recovery key, which is asked for or read from standard input, opens the store
  export extern "infrad key help recovery test" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key help help" [
  ]

  def "nu-complete infrad backup color" [] {
    [ "auto" "always" "never" ]
  }

  # Write an encrypted backup to a file, while the daemon runs or not
  export extern "infrad backup" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad backup color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The file to write; nothing may be there
  ]

  def "nu-complete infrad backup verify color" [] {
    [ "auto" "always" "never" ]
  }

  # Read a backup from its beginning to its end, and say whether it could be restored
  export extern "infrad backup verify" [
    --recovery                # Open it with the recovery key, which is asked for, or read from standard input
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad backup verify color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The backup
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad backup help" [
  ]

  # Read a backup from its beginning to its end, and say whether it could be restored
  export extern "infrad backup help verify" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad backup help help" [
  ]

  def "nu-complete infrad restore color" [] {
    [ "auto" "always" "never" ]
  }

  # Restore a backup into the data directory, while no daemon runs
  export extern "infrad restore" [
    --recovery                # Open it with the recovery key, which is asked for, or read from standard input
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad restore color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The backup
  ]

  def "nu-complete infrad dev color" [] {
    [ "auto" "always" "never" ]
  }

  # Try it out: a daemon on loopback with a development identity provider, in a throw-away directory
  export extern "infrad dev" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad dev color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad fingerprint color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the fingerprint that users give to `infra login --fingerprint`
  export extern "infrad fingerprint" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad fingerprint color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca color" [] {
    [ "auto" "always" "never" ]
  }

  # The daemon's own certification authority, which users prove it by
  export extern "infrad ca" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad ca color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca print color" [] {
    [ "auto" "always" "never" ]
  }

  # Print its certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad ca print" [
    --next                    # The one that is to come, after `infrad ca rotate`
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad ca print color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca rotate color" [] {
    [ "auto" "always" "never" ]
  }

  # Have another authority take over, after a time in which users are told of it
  export extern "infrad ca rotate" [
    --overlap: string         # How long the present one goes on, such as `30d` or `12h`; `0s` takes it out of use at once, for when its key is known to others
    --replace                 # Have it take the place of one that was announced before: who heard of that one, and does not come by again, has to accept the new fingerprint
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad ca rotate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad ca help" [
  ]

  # Print its certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad ca help print" [
  ]

  # Have another authority take over, after a time in which users are told of it
  export extern "infrad ca help rotate" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad ca help help" [
  ]

  def "nu-complete infrad certificate color" [] {
    [ "auto" "always" "never" ]
  }

  # The certificate that the running daemon serves with; `infrad status` shows it
  export extern "infrad certificate" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad certificate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad certificate renew color" [] {
    [ "auto" "always" "never" ]
  }

  # Get a new one now, whether one is due or not; by ACME, this counts against the authority's limits
  export extern "infrad certificate renew" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad certificate renew color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad certificate help" [
  ]

  # Get a new one now, whether one is due or not; by ACME, this counts against the authority's limits
  export extern "infrad certificate help renew" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad certificate help help" [
  ]

  def "nu-complete infrad sessions color" [] {
    [ "auto" "always" "never" ]
  }

  # The sessions of users: see them, and end them
  export extern "infrad sessions" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad sessions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad sessions list color" [] {
    [ "auto" "always" "never" ]
  }

  # The live sessions, the newest first for each user
  export extern "infrad sessions list" [
    --user: string            # Of the user with this e-mail or subject alone
    --json                    # Print them as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad sessions list color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad sessions revoke color" [] {
    [ "auto" "always" "never" ]
  }

  # Revoke sessions, within a second, also on open connections
  export extern "infrad sessions revoke" [
    --user: string            # All of the user with this e-mail or subject
    --all                     # All of everybody
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad sessions revoke color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...ids: string            # The ids, as `list` prints them
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad sessions help" [
  ]

  # The live sessions, the newest first for each user
  export extern "infrad sessions help list" [
  ]

  # Revoke sessions, within a second, also on open connections
  export extern "infrad sessions help revoke" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad sessions help help" [
  ]

  def "nu-complete infrad audit color" [] {
    [ "auto" "always" "never" ]
  }

  # The audit log, which the configuration names
  export extern "infrad audit" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad audit color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad audit verify color" [] {
    [ "auto" "always" "never" ]
  }

  # Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself
  export extern "infrad audit verify" [
    --file: path              # The log, in the place of the configured one; what was set aside of it (FILE.1 and so on) is verified with it
    --journal                 # The log is a copy of the journal, in which another chain begins at each start of the daemon
    --head: string            # The head that an earlier run printed: check that its chain is unchanged from its beginning up to that line
    --json                    # Print the result as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad audit verify color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad audit help" [
  ]

  # Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself
  export extern "infrad audit help verify" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad audit help help" [
  ]

  def "nu-complete infrad as-service color" [] {
    [ "auto" "always" "never" ]
  }

  # Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox
  export extern "infrad as-service" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad as-service color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...words: string          # The command, with its options
  ]

  def "nu-complete infrad completions shell" [] {
    [ "bash" "elvish" "fish" "nushell" "powershell" "zsh" ]
  }

  def "nu-complete infrad completions color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the script that lets a shell complete this program's arguments
  export extern "infrad completions" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration says: once for `debug`, twice for `trace`
    --quiet(-q)               # Say nothing but errors
    --color: string@"nu-complete infrad completions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    shell: string@"nu-complete infrad completions shell" # The shell
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad help" [
  ]

  # Run the daemon
  export extern "infrad help serve" [
  ]

  # Check the configuration, and the files and variables that it names, without a network
  export extern "infrad help check" [
  ]

  # Ask the running daemon how it is
  export extern "infrad help status" [
  ]

  # Look at the keys that protect the store, and change them
  export extern "infrad help key" [
  ]

  # Say which root key wraps the data key, and whether there is a recovery key
  export extern "infrad help key status" [
  ]

  # Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew
  export extern "infrad help key rewrap" [
  ]

  # Move the store to a new data key, while the daemon runs or not
  export extern "infrad help key rotate" [
  ]

  # An offline key that opens the store and its backups when the root key is lost
  export extern "infrad help key recovery" [
  ]

  # Make a recovery key and print it, this once; the one from before opens what is written from now on no more
  export extern "infrad help key recovery create" [
  ]

  # Say whether a recovery key, which is asked for or read from standard input, opens the store
  export extern "infrad help key recovery test" [
  ]

  # Write an encrypted backup to a file, while the daemon runs or not
  export extern "infrad help backup" [
  ]

  # Read a backup from its beginning to its end, and say whether it could be restored
  export extern "infrad help backup verify" [
  ]

  # Restore a backup into the data directory, while no daemon runs
  export extern "infrad help restore" [
  ]

  # Try it out: a daemon on loopback with a development identity provider, in a throw-away directory
  export extern "infrad help dev" [
  ]

  # Print the fingerprint that users give to `infra login --fingerprint`
  export extern "infrad help fingerprint" [
  ]

  # The daemon's own certification authority, which users prove it by
  export extern "infrad help ca" [
  ]

  # Print its certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad help ca print" [
  ]

  # Have another authority take over, after a time in which users are told of it
  export extern "infrad help ca rotate" [
  ]

  # The certificate that the running daemon serves with; `infrad status` shows it
  export extern "infrad help certificate" [
  ]

  # Get a new one now, whether one is due or not; by ACME, this counts against the authority's limits
  export extern "infrad help certificate renew" [
  ]

  # The sessions of users: see them, and end them
  export extern "infrad help sessions" [
  ]

  # The live sessions, the newest first for each user
  export extern "infrad help sessions list" [
  ]

  # Revoke sessions, within a second, also on open connections
  export extern "infrad help sessions revoke" [
  ]

  # The audit log, which the configuration names
  export extern "infrad help audit" [
  ]

  # Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself
  export extern "infrad help audit verify" [
  ]

  # Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox
  export extern "infrad help as-service" [
  ]

  # Print the script that lets a shell complete this program's arguments
  export extern "infrad help completions" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad help help" [
  ]

}

export use completions *
