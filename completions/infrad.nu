module completions {

  def "nu-complete infrad color" [] {
    [ "auto" "always" "never" ]
  }

  # Signs users in with your OpenID provider, stores their sessions, and validates tokens for services
  export extern infrad [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad serve color" [] {
    [ "auto" "always" "never" ]
  }

  # Run the daemon
  export extern "infrad serve" [
    --accept-rollback         # Start with data that is older than the data this host used last, and revoke all its sessions
    --new-store               # Create a new store in an empty data directory, although this host has used another store; or a new CA, if the database has lost its own
    --domain: string          # Serve this DNS name with a certificate from Let's Encrypt, once the name resolves to this host; repeatable
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad serve color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad check color" [] {
    [ "auto" "always" "never" ]
  }

  # Check the configuration, with its files and variables
  export extern "infrad check" [
    --live                    # Also read each secret, use each root key, and contact each provider and the ACME server; prints no secrets
    --json                    # Print the result as JSON
    --schema                  # Only print the JSON Schema of the configuration, for editors
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad check color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad status color" [] {
    [ "auto" "always" "never" ]
  }

  # Show the state of the running daemon
  export extern "infrad status" [
    --json                    # Print the state as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key color" [] {
    [ "auto" "always" "never" ]
  }

  # Show and change the keys of the store
  export extern "infrad key" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key status color" [] {
    [ "auto" "always" "never" ]
  }

  # Show which root key wraps the data key, and if there is a recovery key
  export extern "infrad key status" [
    --json                    # Print the status as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key status color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key rewrap color" [] {
    [ "auto" "always" "never" ]
  }

  # Wrap the data key with the first root key in `keys`; the running daemon rereads `keys`
  export extern "infrad key rewrap" [
    --recovery                # Open the store with the recovery key; stop the daemon first. Prompts for the key, or reads it from standard input
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key rewrap color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key rotate color" [] {
    [ "auto" "always" "never" ]
  }

  # Encrypt the store with a new data key, with the daemon running or stopped
  export extern "infrad key rotate" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key rotate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery color" [] {
    [ "auto" "always" "never" ]
  }

  # Create or test the recovery key: it opens the store and its backups if the root key is lost
  export extern "infrad key recovery" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key recovery color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery create color" [] {
    [ "auto" "always" "never" ]
  }

  # Create a recovery key and print it once; it replaces the previous key for the store and for new backups
  export extern "infrad key recovery create" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key recovery create color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key recovery test color" [] {
    [ "auto" "always" "never" ]
  }

  # Test if a recovery key opens the store; prompts for the key, or reads it from standard input
  export extern "infrad key recovery test" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key recovery test color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key recovery help" [
  ]

  # Create a recovery key and print it once; it replaces the previous key for the store and for new backups
  export extern "infrad key recovery help create" [
  ]

  # Test if a recovery key opens the store; prompts for the key, or reads it from standard input
  export extern "infrad key recovery help test" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key recovery help help" [
  ]

  def "nu-complete infrad key tokens color" [] {
    [ "auto" "always" "never" ]
  }

  # Rotate the signing keys of audience tokens (JWT); the daemon does so every 30 days
  export extern "infrad key tokens" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key tokens color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad key tokens rotate color" [] {
    [ "auto" "always" "never" ]
  }

  # Publish the next key; it signs after a day
  export extern "infrad key tokens rotate" [
    --now                     # Replace all keys now, because one of them leaked
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad key tokens rotate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key tokens help" [
  ]

  # Publish the next key; it signs after a day
  export extern "infrad key tokens help rotate" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key tokens help help" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key help" [
  ]

  # Show which root key wraps the data key, and if there is a recovery key
  export extern "infrad key help status" [
  ]

  # Wrap the data key with the first root key in `keys`; the running daemon rereads `keys`
  export extern "infrad key help rewrap" [
  ]

  # Encrypt the store with a new data key, with the daemon running or stopped
  export extern "infrad key help rotate" [
  ]

  # Create or test the recovery key: it opens the store and its backups if the root key is lost
  export extern "infrad key help recovery" [
  ]

  # Create a recovery key and print it once; it replaces the previous key for the store and for new backups
  export extern "infrad key help recovery create" [
  ]

  # Test if a recovery key opens the store; prompts for the key, or reads it from standard input
  export extern "infrad key help recovery test" [
  ]

  # Rotate the signing keys of audience tokens (JWT); the daemon does so every 30 days
  export extern "infrad key help tokens" [
  ]

  # Publish the next key; it signs after a day
  export extern "infrad key help tokens rotate" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad key help help" [
  ]

  def "nu-complete infrad database color" [] {
    [ "auto" "always" "never" ]
  }

  # Prepare the PostgreSQL database of several daemons
  export extern "infrad database" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad database color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad database create color" [] {
    [ "auto" "always" "never" ]
  }

  # Create the schema and the keys in the database that `database` names; run it again after an upgrade
  export extern "infrad database create" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad database create color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad database move color" [] {
    [ "auto" "always" "never" ]
  }

  # Move the store in `dataDir` to the database that `database` names, or back; stop all daemons first
  export extern "infrad database move" [
    --to-file                 # Move the store in the database to `dataDir`
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad database move color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad database help" [
  ]

  # Create the schema and the keys in the database that `database` names; run it again after an upgrade
  export extern "infrad database help create" [
  ]

  # Move the store in `dataDir` to the database that `database` names, or back; stop all daemons first
  export extern "infrad database help move" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad database help help" [
  ]

  def "nu-complete infrad backup color" [] {
    [ "auto" "always" "never" ]
  }

  # Write an encrypted backup to a file, with the daemon running or stopped
  export extern "infrad backup" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad backup color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The file to write; it must not exist
  ]

  def "nu-complete infrad backup verify color" [] {
    [ "auto" "always" "never" ]
  }

  # Read a whole backup and check that it can be restored
  export extern "infrad backup verify" [
    --recovery                # Open it with the recovery key; prompts for the key, or reads it from standard input
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad backup verify color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The backup file
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad backup help" [
  ]

  # Read a whole backup and check that it can be restored
  export extern "infrad backup help verify" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad backup help help" [
  ]

  def "nu-complete infrad restore color" [] {
    [ "auto" "always" "never" ]
  }

  # Replace the store with a backup; stop the daemon first
  export extern "infrad restore" [
    --recovery                # Open it with the recovery key; prompts for the key, or reads it from standard input
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad restore color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    file: path                # The backup file
  ]

  def "nu-complete infrad dev color" [] {
    [ "auto" "always" "never" ]
  }

  # Try it out: run a daemon and a development identity provider on loopback, in a temporary directory
  export extern "infrad dev" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad dev color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad fingerprint color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the fingerprint that users pass to `infra login --fingerprint`
  export extern "infrad fingerprint" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad fingerprint color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca color" [] {
    [ "auto" "always" "never" ]
  }

  # Print or rotate the daemon's own certification authority (CA)
  export extern "infrad ca" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad ca color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca print color" [] {
    [ "auto" "always" "never" ]
  }

  # Print the CA's certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad ca print" [
    --next                    # Print the next CA's certificate, after `infrad ca rotate`
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad ca print color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad ca rotate color" [] {
    [ "auto" "always" "never" ]
  }

  # Create a new CA that takes over after an announced time
  export extern "infrad ca rotate" [
    --overlap: string         # How long the current CA stays in use, such as `30d` or `12h`; `0s` replaces it immediately, for a leaked key
    --replace                 # Replace a CA that is already announced; users who learned of that one and do not connect again must accept the new fingerprint
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad ca rotate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad ca help" [
  ]

  # Print the CA's certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad ca help print" [
  ]

  # Create a new CA that takes over after an announced time
  export extern "infrad ca help rotate" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad ca help help" [
  ]

  def "nu-complete infrad certificate color" [] {
    [ "auto" "always" "never" ]
  }

  # Renew the certificate of the running daemon
  export extern "infrad certificate" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad certificate color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad certificate renew color" [] {
    [ "auto" "always" "never" ]
  }

  # Get a new certificate now, even if none is due; with ACME, this counts against the server's rate limits
  export extern "infrad certificate renew" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad certificate renew color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad certificate help" [
  ]

  # Get a new certificate now, even if none is due; with ACME, this counts against the server's rate limits
  export extern "infrad certificate help renew" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad certificate help help" [
  ]

  def "nu-complete infrad sessions color" [] {
    [ "auto" "always" "never" ]
  }

  # List and revoke users' sessions
  export extern "infrad sessions" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad sessions color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad sessions list color" [] {
    [ "auto" "always" "never" ]
  }

  # List live sessions, newest first for each user
  export extern "infrad sessions list" [
    --user: string            # Only sessions of the user with this e-mail or subject
    --json                    # Print the sessions as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad sessions list color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad sessions revoke color" [] {
    [ "auto" "always" "never" ]
  }

  # Revoke sessions; takes effect within a second, also on open connections
  export extern "infrad sessions revoke" [
    --user: string            # All sessions of the user with this e-mail or subject
    --all                     # All sessions of all users
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad sessions revoke color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...ids: string            # IDs of sessions, as `list` prints them; a pasted session token counts as its ID
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad sessions help" [
  ]

  # List live sessions, newest first for each user
  export extern "infrad sessions help list" [
  ]

  # Revoke sessions; takes effect within a second, also on open connections
  export extern "infrad sessions help revoke" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad sessions help help" [
  ]

  def "nu-complete infrad audit color" [] {
    [ "auto" "always" "never" ]
  }

  # Verify the audit log
  export extern "infrad audit" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad audit color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  def "nu-complete infrad audit verify color" [] {
    [ "auto" "always" "never" ]
  }

  # Check that the log is an unbroken hash chain, and print its head
  export extern "infrad audit verify" [
    --file: path              # Verify this file instead of the configured log, together with its rotated files (FILE.1 and so on)
    --journal                 # Accept a copy of the journal, in which each start of the daemon starts another chain
    --head: string            # Check that the chain is unchanged up to the line with this head, which an earlier run printed
    --json                    # Print the result as JSON
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
    --color: string@"nu-complete infrad audit verify color" # When to use colour
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad audit help" [
  ]

  # Check that the log is an unbroken hash chain, and print its head
  export extern "infrad audit help verify" [
  ]

  # Print this message or the help of the given subcommand(s)
  export extern "infrad audit help help" [
  ]

  def "nu-complete infrad as-service color" [] {
    [ "auto" "always" "never" ]
  }

  # Run another command as the systemd unit runs the daemon: same user, root key, environment and sandbox
  export extern "infrad as-service" [
    --config: path            # The configuration file
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
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
    --verbose(-v)             # Log more than the configuration sets: once for `debug`, twice for `trace`
    --quiet(-q)               # Print only errors and warnings
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

  # Check the configuration, with its files and variables
  export extern "infrad help check" [
  ]

  # Show the state of the running daemon
  export extern "infrad help status" [
  ]

  # Show and change the keys of the store
  export extern "infrad help key" [
  ]

  # Show which root key wraps the data key, and if there is a recovery key
  export extern "infrad help key status" [
  ]

  # Wrap the data key with the first root key in `keys`; the running daemon rereads `keys`
  export extern "infrad help key rewrap" [
  ]

  # Encrypt the store with a new data key, with the daemon running or stopped
  export extern "infrad help key rotate" [
  ]

  # Create or test the recovery key: it opens the store and its backups if the root key is lost
  export extern "infrad help key recovery" [
  ]

  # Create a recovery key and print it once; it replaces the previous key for the store and for new backups
  export extern "infrad help key recovery create" [
  ]

  # Test if a recovery key opens the store; prompts for the key, or reads it from standard input
  export extern "infrad help key recovery test" [
  ]

  # Rotate the signing keys of audience tokens (JWT); the daemon does so every 30 days
  export extern "infrad help key tokens" [
  ]

  # Publish the next key; it signs after a day
  export extern "infrad help key tokens rotate" [
  ]

  # Prepare the PostgreSQL database of several daemons
  export extern "infrad help database" [
  ]

  # Create the schema and the keys in the database that `database` names; run it again after an upgrade
  export extern "infrad help database create" [
  ]

  # Move the store in `dataDir` to the database that `database` names, or back; stop all daemons first
  export extern "infrad help database move" [
  ]

  # Write an encrypted backup to a file, with the daemon running or stopped
  export extern "infrad help backup" [
  ]

  # Read a whole backup and check that it can be restored
  export extern "infrad help backup verify" [
  ]

  # Replace the store with a backup; stop the daemon first
  export extern "infrad help restore" [
  ]

  # Try it out: run a daemon and a development identity provider on loopback, in a temporary directory
  export extern "infrad help dev" [
  ]

  # Print the fingerprint that users pass to `infra login --fingerprint`
  export extern "infrad help fingerprint" [
  ]

  # Print or rotate the daemon's own certification authority (CA)
  export extern "infrad help ca" [
  ]

  # Print the CA's certificate as PEM, for `infra login --ca-file` and other clients
  export extern "infrad help ca print" [
  ]

  # Create a new CA that takes over after an announced time
  export extern "infrad help ca rotate" [
  ]

  # Renew the certificate of the running daemon
  export extern "infrad help certificate" [
  ]

  # Get a new certificate now, even if none is due; with ACME, this counts against the server's rate limits
  export extern "infrad help certificate renew" [
  ]

  # List and revoke users' sessions
  export extern "infrad help sessions" [
  ]

  # List live sessions, newest first for each user
  export extern "infrad help sessions list" [
  ]

  # Revoke sessions; takes effect within a second, also on open connections
  export extern "infrad help sessions revoke" [
  ]

  # Verify the audit log
  export extern "infrad help audit" [
  ]

  # Check that the log is an unbroken hash chain, and print its head
  export extern "infrad help audit verify" [
  ]

  # Run another command as the systemd unit runs the daemon: same user, root key, environment and sandbox
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
