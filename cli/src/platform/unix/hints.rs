//! Words of messages that differ between systems.

use std::io;

const IS_MACOS: bool = cfg!(target_os = "macos");

/// What a file system must support to keep other users out.
pub(crate) const ACCESS_CONTROL: &str = "modes";

/// The desktop's program that opens addresses.
pub(crate) const OPENER: &str = if IS_MACOS { "open" } else { "xdg-open" };

/// What to do without a program that opens the browser.
pub(crate) const BROWSER_HINT: &str = if IS_MACOS {
    "set `BROWSER` to the path of a browser, or use `infra login --no-browser`"
} else {
    "install `xdg-utils`, set `BROWSER` to the path of a browser, or use `infra login --no-browser`"
};

/// What to do about a command that does not start.
pub(crate) const COMMAND_HINT: &str = "check the command's name and PATH";

/// What to do about a wrong clock.
pub(crate) const CLOCK_HINT: &str = if IS_MACOS {
    "set it by NTP (`sudo sntp -sS time.apple.com`); if it is right, tell the server's operator"
} else {
    "set it by NTP (`timedatectl set-ntp true`); if it is right, tell the server's operator"
};

/// What to do without a keyring.
pub(crate) const NO_KEYRING_HINT: &str = if IS_MACOS {
    "open Keychain Access and check the login keychain, or use none: `infra login --force --no-keyring`"
} else {
    "start one (GNOME Keyring, KWallet, KeePassXC) in this session, or use none: `infra login --force --no-keyring`"
};

/// What to do about files that other users can reach.
pub(crate) const FILES_HINT: &str = "make sure that only you can write to the directory and read its files (mode 0600); if its file system does not \
     support modes, set `INFRA_HOME` to a directory elsewhere";

/// What to do about files of another user.
pub(crate) const OTHER_USER_HINT: &str =
    "run `infra` as that user (without `sudo`), or set `HOME` or `INFRA_HOME` to a directory of your own";

/// What to do without a home directory.
pub(crate) const NO_HOME_HINT: &str = "set HOME or INFRA_HOME";

/// What to do if the environment is that of a daemon for development that was stopped.
pub(crate) const STALE_EXPORTS: &str = "if you started `infrad dev` again, paste its new `export` lines";

/// What to do if nothing answers on this machine.
pub(crate) const LOOPBACK_HINT: &str = "start the daemon on this machine, or the tunnel to it; if you started `infrad dev` again, paste \
    its new `export` lines";

/// How to use a second kubeconfig.
pub(crate) const SECOND_KUBECONFIG: &str = "`export KUBECONFIG=~/.kube/config:~/.kube/infra.yaml`";

/// How to write an absolute path.
pub(crate) const ABSOLUTE_PATH_HINT: &str = "begin it with `/`";

/// Shows which programs listen on ports.
pub(crate) const LISTENERS_COMMAND: &str = if IS_MACOS { "lsof -nP -iTCP -sTCP:LISTEN" } else { "ss -ltnp" };

/// What to do about ports that the system reserves. Unix reserves none of the ports that a server may register.
pub(crate) fn reserved_ports_hint<'a>(
    _errors: impl IntoIterator<Item = &'a io::Error>,
) -> Option<&'static str> {
    None
}
