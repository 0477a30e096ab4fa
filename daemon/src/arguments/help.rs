//! What `--help` says after the options, and the manual pages in the sections of the same names. Two columns of spaces
//! before a sentence, four before a line to be typed: tests read those lines.

use infra_shared::command_line::Synonyms;

/// Names of other programs' commands for the same, and commands of `infra`.
pub const SYNONYMS: &Synonyms = &[
    ("start", "`systemctl start infrad`, `infrad serve`, or `infrad dev` to try Infra"),
    ("run", "`systemctl start infrad`, `infrad serve`, or `infrad dev` to try Infra"),
    ("stop", "`systemctl stop infrad`, or Ctrl-C in the terminal of the daemon"),
    ("restart", "`systemctl restart infrad`"),
    ("reload", "`systemctl reload infrad`"),
    ("doctor", "`infrad check --live`"),
    ("validate", "`infrad check`"),
    ("exec", "`infra exec`"),
    ("kubernetes", "`infra kubernetes`"),
    ("login", "`infra login`"),
    ("logout", "`infra logout`"),
    ("token", "`infra token`"),
    ("trust", "`infra trust`"),
    ("use", "`infra use`"),
];

/// After `infrad -h`, and where a command is missing.
pub(super) const SHORT: &str = "\
Run `infrad help COMMAND` for a command's options and examples, `infrad --help` for exit codes and files.";

pub(super) const PROGRAM: &str = "\
Examples:
  Check the configuration and everything named in it:
    infrad check --live
  Run the daemon; it prints the command for your users:
    infrad serve
  Show the state of the running daemon:
    infrad status

Exit codes:
  0  success
  1  failure
  2  wrong usage, or an invalid configuration
  4  another server is unavailable: try again later

Environment:
  INFRAD_CONFIG   the configuration file, like --config
  NO_COLOR        if set, disables colour
  CLICOLOR_FORCE  if set, enables colour even without a terminal

Files:
  /etc/infra/infrad.yaml        the configuration
  /etc/infra/root.key           the root key (default of `keys`)
  /var/lib/infrad               the data directory (default of `dataDir`)
  /var/lib/infrad/control.sock  the socket that commands use to reach the running daemon";

pub(super) const SERVE: &str = "\
Examples:
  With the system's configuration:
    infrad serve
  With another configuration and the most detailed log:
    infrad serve --config ./infrad.yaml -vv
  With a certificate from Let's Encrypt, once the name resolves to this host:
    infrad serve --domain infra.example.com";

pub(super) const CHECK: &str = "\
Examples:
  Before you restart the daemon with a changed configuration:
    infrad check
  Also test secrets, root keys and providers:
    infrad check --live
  The same as the service on this host, as root:
    infrad as-service check --live
  For a script:
    infrad check --live --json | jq .
  For an editor with JSON Schema support:
    infrad check --schema > infrad.schema.json";

pub(super) const DATABASE: &str = "\
Examples:
  Once, on one host, with `database` in the configuration:
    infrad database create
  The same as the service on this host, as root:
    infrad as-service database create";

pub(super) const DATABASE_MOVE: &str = "\
Examples:
  With all daemons stopped, and `database` in the configuration:
    infrad database move
  Back to a file, on the host that is to keep it:
    infrad database move --to-file";

pub(super) const STATUS: &str = "\
Examples:
  For people:
    infrad status
  For a script:
    infrad status --json | jq .";

pub(super) const KEY: &str = "\
Examples:
  Show which root key wraps the data key:
    infrad key status
  After you put another root key first in `keys`:
    infrad key rewrap
  Prepare for a lost root key:
    infrad key recovery create

To add a root key if systemd passes the first one, run `systemctl edit infrad`, add these lines, and run `systemctl restart infrad`:
  [Service]
  LoadCredential=root2.key:/etc/infra/root2.key

In the configuration, put the new key first:
  keys:
    - {kind: native, config: {path: /run/credentials/infrad.service/root2.key}}
    - {kind: native, config: {path: /run/credentials/infrad.service/root.key}}";

pub(super) const KEY_STATUS: &str = "\
Examples:
  For a script:
    infrad key status --json | jq .";

pub(super) const KEY_REWRAP: &str = "\
Examples:
  After you put another root key first in `keys`:
    infrad key rewrap
  If the root key is lost, with the daemon stopped:
    infrad key rewrap --recovery";

pub(super) const KEY_ROTATE: &str = "\
Examples:
  Encrypt the store with a new data key:
    infrad key rotate";

pub(super) const TOKEN_KEYS: &str = "\
Examples:
  Publish the next key; it signs after a day:
    infrad key tokens rotate
  Replace all keys now, if one of them leaked:
    infrad key tokens rotate --now";

pub(super) const TOKEN_KEYS_ROTATE: &str = "\
Examples:
  Publish the next key; it signs after a day:
    infrad key tokens rotate
  Replace all keys now, if one of them leaked:
    infrad key tokens rotate --now";

pub(super) const RECOVERY: &str = "\
Examples:
  Create a recovery key, and keep the printed key offline:
    infrad key recovery create
  Test if your copy opens the store:
    infrad key recovery test";

pub(super) const RECOVERY_CREATE: &str = "\
Examples:
  Create a recovery key, and keep the printed key offline:
    infrad key recovery create";

pub(super) const RECOVERY_TEST: &str = "\
Examples:
  Type the recovery key at the prompt:
    infrad key recovery test";

pub(super) const BACKUP: &str = "\
Examples:
  Write a backup, then verify it:
    infrad backup /backup/infrad.backup
    infrad backup verify /backup/infrad.backup";

pub(super) const BACKUP_VERIFY: &str = "\
Examples:
  With a root key of the configuration:
    infrad backup verify /backup/infrad.backup
  As if the root key were lost:
    infrad backup verify /backup/infrad.backup --recovery";

pub(super) const RESTORE: &str = "\
Examples:
  With the daemon stopped:
    infrad restore /backup/infrad.backup
  If the root key is lost:
    infrad restore /backup/infrad.backup --recovery";

#[cfg(feature = "dev")]
pub(super) const DEV: &str = "\
Examples:
  Until you press Ctrl-C; it prints the variables to export in another terminal:
    infrad dev
  For one command, with `infra` in its PATH:
    infrad dev -- sh -c 'infra login && infra status'";

pub(super) const FINGERPRINT: &str = "\
Examples:
  Print the fingerprint for `infra login`:
    infrad fingerprint";

pub(super) const CA: &str = "\
Examples:
  Print the certificate for clients other than `infra`:
    infrad ca print > ca.pem
  Announce a new CA, which takes over in thirty days:
    infrad ca rotate";

pub(super) const CA_PRINT: &str = "\
Examples:
  For clients other than `infra`:
    infrad ca print > ca.pem
  Add the next CA, after `infrad ca rotate`:
    infrad ca print --next >> ca.pem";

pub(super) const CA_ROTATE: &str = "\
Examples:
  In thirty days:
    infrad ca rotate
  In twelve hours:
    infrad ca rotate --overlap 12h
  Immediately, after a leaked key; every user must accept the new fingerprint:
    infrad ca rotate --overlap 0s";

pub(super) const CERTIFICATE: &str = "\
Examples:
  Show the certificates and their dates:
    infrad status
  Get a new certificate now:
    infrad certificate renew";

pub(super) const AUDIT: &str = "\
Examples:
  The configured log with its rotated files:
    infrad audit verify
  A copy of the log:
    infrad audit verify --file audit.jsonl
  The journal:
    journalctl --identifier infrad-audit --output cat >audit.jsonl
    infrad audit verify --journal --file audit.jsonl
  For a script:
    infrad audit verify --json | jq -r .head";

pub(super) const SESSIONS: &str = "\
Examples:
  List the signed-in users:
    infrad sessions list
  A user left, or lost a laptop:
    infrad sessions revoke --user alice@example.com";

pub(super) const SESSIONS_LIST: &str = "\
Examples:
  List the signed-in users:
    infrad sessions list
  Count the sessions of each user:
    infrad sessions list --json | jq '[.sessions[].user.email] | group_by(.) | map({(.[0]): length})'";

pub(super) const SESSIONS_REVOKE: &str = "\
Examples:
  One session:
    infrad sessions revoke f3Kd9sQ1Zx
  All sessions of a user:
    infrad sessions revoke --user alice@example.com
  All sessions of all users:
    infrad sessions revoke --all";

pub(super) const AS_SERVICE: &str = "\
Examples:
  Check that the service can use everything in its configuration:
    infrad as-service check --live
  Also with the daemon stopped:
    infrad as-service key status
  Redirect the output to a file:
    infrad as-service ca print > ca.pem";

pub(super) const COMPLETIONS: &str = "\
Examples:
  bash:
    echo 'source <(infrad completions bash)' >> ~/.bashrc
  zsh, after `compinit`:
    echo 'source <(infrad completions zsh)' >> ~/.zshrc
  fish:
    echo 'infrad completions fish | source' >> ~/.config/fish/config.fish
  elvish, if ~/.config/elvish exists:
    echo 'eval (infrad completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  PowerShell:
    Add-Content $PROFILE 'infrad completions powershell | Out-String | Invoke-Expression'";
