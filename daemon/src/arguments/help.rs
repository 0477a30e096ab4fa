//! What `--help` says after the options, and the manual pages in the sections of the same names. Two columns of spaces
//! before a sentence, four before a line to be typed: tests read those lines.

/// After `infrad -h`, and where a command is missing.
pub(super) const SHORT: &str = "\
`infrad help COMMAND` explains a command with examples, `infrad --help` the exit codes and the files.";

pub(super) const PROGRAM: &str = "\
Examples:
  See whether the configuration is good, with everything that it names:
    infrad check --live
  Run the daemon; it prints the line to give to users:
    infrad serve
  Ask the running daemon how it is:
    infrad status

Exit codes:
  0  done
  1  failed
  2  wrong usage, or a configuration that has to be changed
  4  a remote party cannot be reached: trying again later may help

Environment:
  INFRAD_CONFIG   the configuration file, as with --config
  NO_COLOR        when set, no colour
  CLICOLOR_FORCE  when set, colour also where no terminal reads it

Files:
  /etc/infra/infrad.yaml        the configuration
  /etc/infra/root.key           the root key, where the configuration names no other
  /var/lib/infrad               the data directory, where the configuration names no other
  /var/lib/infrad/control.sock  by which commands ask the running daemon";

pub(super) const SERVE: &str = "\
Examples:
  With the configuration of the system:
    infrad serve
  With another one, and everything in the log:
    infrad serve --config ./infrad.yaml -vv
  With a certificate of Let's Encrypt, once the name leads here:
    infrad serve --domain infra.example.com";

pub(super) const CHECK: &str = "\
Examples:
  Before the daemon is started again with a configuration that has changed:
    infrad check
  Also whether secrets, keys and providers can be reached from here:
    infrad check --live
  The same for the service of this host, as root:
    infrad as-service check --live
  For a script:
    infrad check --live --json | jq .
  For an editor that knows JSON Schema:
    infrad check --schema > infrad.schema.json";

pub(super) const STATUS: &str = "\
Examples:
  For people:
    infrad status
  For a script:
    infrad status --json | jq .";

pub(super) const KEY: &str = "\
Examples:
  Which root key wraps the data key:
    infrad key status
  After another root key was put first in the configuration:
    infrad key rewrap
  Before a root key can be lost:
    infrad key recovery create

Another root key where systemd hands over the first one (`systemctl edit infrad`, `systemctl restart infrad`):
  [Service]
  LoadCredential=root2.key:/etc/infra/root2.key

and in the configuration, the new one first:
  keys:
    - {kind: native, config: {path: /run/credentials/infrad.service/root2.key}}
    - {kind: native, config: {path: /run/credentials/infrad.service/root.key}}";

pub(super) const KEY_STATUS: &str = "\
Examples:
  For a script:
    infrad key status --json | jq .";

pub(super) const KEY_REWRAP: &str = "\
Examples:
  After another root key was put first in the configuration:
    infrad key rewrap
  Where the root key is lost, while no daemon runs on the data directory:
    infrad key rewrap --recovery";

pub(super) const KEY_ROTATE: &str = "\
Examples:
  Move the store to a new data key:
    infrad key rotate";

pub(super) const RECOVERY: &str = "\
Examples:
  Make a recovery key, and keep what is printed offline:
    infrad key recovery create
  See whether the one that is kept opens the store:
    infrad key recovery test";

pub(super) const RECOVERY_CREATE: &str = "\
Examples:
  Make a recovery key, and keep what is printed offline:
    infrad key recovery create";

pub(super) const RECOVERY_TEST: &str = "\
Examples:
  Type the recovery key when it is asked for:
    infrad key recovery test";

pub(super) const BACKUP: &str = "\
Examples:
  Write a backup, and read it again to be sure:
    infrad backup /backup/infrad.backup
    infrad backup verify /backup/infrad.backup";

pub(super) const BACKUP_VERIFY: &str = "\
Examples:
  With a root key of the configuration:
    infrad backup verify /backup/infrad.backup
  As on a day on which the root key is lost:
    infrad backup verify /backup/infrad.backup --recovery";

pub(super) const RESTORE: &str = "\
Examples:
  While no daemon runs on the data directory:
    infrad restore /backup/infrad.backup
  Where the root key is lost:
    infrad restore /backup/infrad.backup --recovery";

#[cfg(feature = "dev")]
pub(super) const DEV: &str = "\
Examples:
  Until Ctrl-C; it prints what to export in another terminal:
    infrad dev
  For one command, with `infra` in its path:
    infrad dev -- sh -c 'infra login && infra status'";

pub(super) const FINGERPRINT: &str = "\
Examples:
  The fingerprint that users give to `infra login`:
    infrad fingerprint";

pub(super) const CA: &str = "\
Examples:
  The certificate, for programs that are not `infra`:
    infrad ca print > ca.pem
  Another authority in thirty days, announced until then:
    infrad ca rotate";

pub(super) const CA_PRINT: &str = "\
Examples:
  For programs that are not `infra`:
    infrad ca print > ca.pem
  With the one that is to come, after `infrad ca rotate`:
    infrad ca print --next >> ca.pem";

pub(super) const CA_ROTATE: &str = "\
Examples:
  In thirty days:
    infrad ca rotate
  In twelve hours:
    infrad ca rotate --overlap 12h
  At once, where others know its key; every user has to accept the new fingerprint:
    infrad ca rotate --overlap 0s";

pub(super) const CERTIFICATE: &str = "\
Examples:
  What is served, and until when:
    infrad status
  A new one, although none is due:
    infrad certificate renew";

pub(super) const AUDIT: &str = "\
Examples:
  The log that the configuration names, and what was set aside of it:
    infrad audit verify
  A copy that was kept elsewhere:
    infrad audit verify --file audit.jsonl
  The journal:
    journalctl --identifier infrad-audit --output cat >audit.jsonl
    infrad audit verify --journal --file audit.jsonl
  For a script:
    infrad audit verify --json | jq -r .head";

pub(super) const SESSIONS: &str = "\
Examples:
  Who is signed in:
    infrad sessions list
  Somebody left, or lost a laptop:
    infrad sessions revoke --user alice@example.com";

pub(super) const SESSIONS_LIST: &str = "\
Examples:
  Who is signed in:
    infrad sessions list
  How many sessions each user has:
    infrad sessions list --json | jq '[.sessions[].user.email] | group_by(.) | map({(.[0]): length})'";

pub(super) const SESSIONS_REVOKE: &str = "\
Examples:
  One session:
    infrad sessions revoke f3Kd9sQ1Zx
  All of a user:
    infrad sessions revoke --user alice@example.com
  Everybody's:
    infrad sessions revoke --all";

pub(super) const AS_SERVICE: &str = "\
Examples:
  Whether the service can use everything that its configuration names:
    infrad as-service check --live
  While the daemon is stopped, too:
    infrad as-service key status
  Output goes where you send it:
    infrad as-service ca print > ca.pem";

pub(super) const COMPLETIONS: &str = "\
Examples:
  bash:
    echo 'source <(infrad completions bash)' >> ~/.bashrc
  zsh, after `compinit`:
    echo 'source <(infrad completions zsh)' >> ~/.zshrc
  fish:
    echo 'infrad completions fish | source' >> ~/.config/fish/config.fish
  elvish, where ~/.config/elvish is there:
    echo 'eval (infrad completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  PowerShell:
    'infrad completions powershell | Out-String | Invoke-Expression' >> $PROFILE";
