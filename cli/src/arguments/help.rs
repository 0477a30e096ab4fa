//! Text that `--help` shows after the options, and the manual pages show in sections of the same names. Sentences are
//! indented by two spaces, commands by four: tests run these commands.

use infra_shared::command_line::Synonyms;

use super::powershell;
use crate::platform;

/// Help with its examples for the shell of this system.
pub(super) fn shown(help: &str) -> String {
    if platform::HAS_POWERSHELL { powershell::translate(help) } else { help.to_owned() }
}

/// Names of other programs' commands for the same, and commands of `infrad`.
pub const SYNONYMS: &Synonyms = &[
    ("sign-in", "`infra login`"),
    ("signin", "`infra login`"),
    ("sign-out", "`infra logout`"),
    ("signout", "`infra logout`"),
    ("whoami", "`infra status`"),
    ("run", "`infra exec`"),
    ("agent", "`infra delegate`"),
    ("start", "`infrad serve`, or `infrad dev` to try Infra"),
    ("as-service", "`infrad as-service`"),
    ("audit", "`infrad audit`"),
    ("backup", "`infrad backup`"),
    ("ca", "`infrad ca`"),
    ("certificate", "`infrad certificate`"),
    ("check", "`infrad check` for a configuration, `infra doctor` for this machine"),
    ("dev", "`infrad dev`"),
    ("fingerprint", "`infrad fingerprint`, on the daemon's host"),
    ("key", "`infrad key`"),
    ("restore", "`infrad restore`"),
    ("serve", "`infrad serve`, or `infrad dev` to try Infra"),
];

/// After `infra -h`, and where a command is missing.
pub(super) const SHORT: &str = "\
`infra help COMMAND` explains a command with examples, `infra --help` the exit codes and the environment.";

pub(super) const PROGRAM: &str = "\
Examples:
  Sign in, the first time with the whole line from the server's operator:
    infra login infra.example.com --fingerprint \\
      sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  See as which user you are signed in, and until when:
    infra status
  Send a request to a service, with a token that only this service accepts:
    token=$(infra token --audience grafana) &&
      printf 'Authorization: Bearer %s\\n' \"$token\" |
      curl --max-time 60 --fail -H @- https://grafana.example.com
  Sign out:
    infra logout

Exit codes:
  0    done; for `status`: signed in
  1    failed
  2    wrong usage
  3    you need to sign in: not signed in, expired or revoked
  4    the daemon or the identity provider cannot be reached
  5    the server's identity is not trusted
  6    the sign-in was denied, or not completed in time
  7    signed out here, but the daemon could not be reached
  130  interrupted
  141  the reader of standard output closed the pipe

Environment:
  INFRA_SERVER       the server, as with --server
  INFRA_FINGERPRINT  its fingerprint, as with --fingerprint
  INFRA_CA_FILE      its certification authority, as with --ca-file
  INFRA_TOKEN        a session token to use instead of the stored one; needs INFRA_SERVER
  INFRA_DELEGATED    set by `infra delegate` for its command: nothing uses the stored session
  INFRA_ID_TOKEN     the ID token of a CI job, if there is no session; or INFRA_ID_TOKEN_FILE
  INFRA_HOME         the directory for servers and sessions, instead of ~/.infra
  INFRA_KEY_EXCHANGE `classical`: a small first message in handshakes, for old middleboxes
  HTTPS_PROXY        the proxy for servers that are not this machine; ALL_PROXY, NO_PROXY
  BROWSER            the program that opens pages
  KUBECONFIG         the files that `infra kubernetes configure` changes, instead of ~/.kube/config
  NO_COLOR           if set, no colour
  CLICOLOR_FORCE     if set, colour even if the output is not a terminal
  TZ                 the time zone of displayed times

Files:
  ~/.infra/config.json    the known servers, and what proves each
  ~/.infra/sessions.json  the sessions with their tokens, readable only by you
  ~/.infra/lock           locked while one of these files changes
  ~/.infra/login.lock     locked while a sign-in runs
  ~/.infra/kubectl.lock   locked while `infra kubernetes configure` runs";

pub(super) const SESSIONS: &str = "\
Examples:
  Where am I signed in?
    infra sessions
  The same for a script:
    infra sessions --json
  Sign out everywhere but here:
    infra sessions revoke --others";

pub(super) const SESSIONS_REVOKE: &str = "\
Examples:
  One session, as `infra sessions` lists it:
    infra sessions revoke f3Kd9sQ1Zx
  All except the one on this machine:
    infra sessions revoke --others
  All of them, including this one:
    infra sessions revoke --all
  As an administrator, all sessions of a user who left:
    infra sessions revoke --all --user bob@example.com";

pub(super) const LOGIN: &str = "\
Examples:
  The first time, with the whole line from the server's operator:
    infra login infra.example.com --fingerprint \\
      sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  From then on:
    infra login
  On a machine without a browser, print the address to open elsewhere:
    infra login --no-browser
  Sign in again, although you are signed in:
    infra login --force";

pub(super) const LOGOUT: &str = "\
Examples:
  Sign out of the current server:
    infra logout
  Leave nothing behind:
    infra logout --all --forget";

pub(super) const STATUS: &str = "\
Examples:
  See as which user you are signed in, and until when:
    infra status
  In a script, sign in only if it is needed:
    infra status --quiet || infra login
  The seconds left, by what is stored here:
    infra status --offline --json | jq .session.secondsLeft";

pub(super) const TOKEN: &str = "\
Examples:
  Send a request to a service, with a token that only this service accepts:
    token=$(infra token --audience grafana) &&
      printf 'Authorization: Bearer %s\\n' \"$token\" |
      curl --max-time 60 --fail -H @- https://grafana.example.com
  The same with the session token, for a service that accepts it:
    token=$(infra token) &&
      printf 'Authorization: Bearer %s\\n' \"$token\" |
      curl --max-time 60 --fail -H @- https://service.example.com
  Start a long task only if the session is live and lasts long enough:
    infra status --quiet && infra token --min-left 30m >/dev/null && ./deploy
  For an editor or agent that runs a command to get headers, as JSON:
    infra token --audience grafana --format headers";

pub(super) const EXEC: &str = "\
Examples:
  A command that reads the token from its environment:
    infra exec --audience grafana -- sh -c 'test -n \"$INFRA_AUDIENCE_TOKEN\"'
  The same under a name that the command knows:
    infra exec --audience grafana --variable TOKEN -- printenv TOKEN";

pub(super) const DELEGATE: &str = "\
Examples:
  A command that gets tokens for one service, within an hour:
    infra delegate --audience grafana -- sh -c 'infra token --audience grafana >/dev/null'
  For longer, and with the label that `infra sessions` shows:
    infra delegate --audience grafana --for 8h --name nightly-report -- ./deploy";

pub(super) const KUBERNETES: &str = "\
Examples:
  Add a cluster to the kubeconfig. Then `kubectl --context prod` gets its tokens from `infra`:
    infra kubernetes configure prod --api-server https://k8s.example.com:6443";

pub(super) const KUBERNETES_CONFIGURE: &str = "\
Examples:
  With the certification authority of the API server, and as the current context:
    infra kubernetes configure prod --api-server https://k8s.example.com:6443 \\
      --certificate-authority k8s-ca.pem --use
  If another program has a context of the same name:
    infra kubernetes configure prod --api-server https://k8s.example.com:6443 \\
      --context infra-prod --namespace web";

pub(super) const KUBERNETES_TOKEN: &str = "\
Examples:
  What `kubectl` runs, as the kubeconfig says:
    infra kubernetes token --cluster prod
  Only the token, for `curl` and similar programs:
    infra token --audience prod";

pub(super) const HELPER: &str = "\
Examples:
  Let git get the token of the service `git` for its server:
    git config --global --add credential.https://git.example.com.helper \\
      '!infra helper git --server infra.example.com --audience git --host git.example.com'";

pub(super) const HELPER_GIT: &str = "\
Examples:
  Set it up for a git server. The first line keeps other helpers from storing the token:
    git config --global --replace-all credential.https://git.example.com.helper ''
    git config --global --add credential.https://git.example.com.helper \\
      '!infra helper git --server infra.example.com --audience git --host git.example.com'
  See what git gets, with the token:
    printf 'protocol=https\\nhost=git.example.com\\n\\n' |
      infra helper git --server infra.example.com --audience git --host git.example.com get";

pub(super) const HELPER_DOCKER: &str = "\
Examples:
  Create the program `docker-credential-infra`, and name it in ~/.docker/config.json:
    printf '#!/bin/sh\\nexec infra helper docker %s \"$@\"\\n' \\
      '--server infra.example.com --audience registry --host registry.example.com' \\
      >~/bin/docker-credential-infra
    chmod 755 ~/bin/docker-credential-infra
  See what Docker gets, with the token:
    echo registry.example.com | docker-credential-infra get";

pub(super) const HELPER_BAZEL: &str = "\
Examples:
  Create a program, and name it in .bazelrc by its path:
    printf '#!/bin/sh\\nexec infra helper bazel %s \"$@\"\\n' \\
      '--server infra.example.com --audience cache --host cache.example.com' \\
      >~/bin/bazel-credential-infra
    chmod 755 ~/bin/bazel-credential-infra
  See what Bazel gets, with the token:
    echo '{\"uri\":\"https://cache.example.com/x\"}' | bazel-credential-infra get";

pub(super) const USE: &str = "\
Examples:
  Use this server from now on:
    infra use infra.example.com";

pub(super) const TRUST: &str = "\
Examples:
  With the fingerprint confirmed by the operator:
    infra trust infra.example.com --fingerprint \\
      sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  With a file of the certification authority:
    infra trust infra.example.com --ca-file ca.pem";

pub(super) const DOCTOR: &str = "\
Examples:
  Check this machine and every known server:
    infra doctor
  The failed checks, for a script:
    infra doctor --json | jq '.checks[] | select(.status == \"failed\")'";

pub(super) const COMPLETIONS: &str = "\
Examples:
  bash:
    echo 'source <(infra completions bash)' >> ~/.bashrc
  zsh, after `compinit`:
    echo 'source <(infra completions zsh)' >> ~/.zshrc
  fish:
    echo 'infra completions fish | source' >> ~/.config/fish/config.fish
  elvish, if ~/.config/elvish exists:
    echo 'eval (infra completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  PowerShell:
    Add-Content $PROFILE 'infra completions powershell | Out-String | Invoke-Expression'
  Nushell:
    infra completions nushell | save --force ($nu.user-autoload-dirs.0 | path join infra.nu)";
