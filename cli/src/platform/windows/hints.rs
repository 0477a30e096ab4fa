//! Words of messages that differ between systems.

use std::io;

use windows_sys::Win32::Networking::WinSock::WSAEACCES;

/// What a file system must support to keep other users out.
pub(crate) const ACCESS_CONTROL: &str = "access lists";

/// The desktop's program that opens addresses.
pub(crate) const OPENER: &str = "rundll32.exe";

/// What to do without a program that opens the browser.
pub(crate) const BROWSER_HINT: &str =
    "set `BROWSER` to the path of a browser, or use `infra login --no-browser`";

/// What to do about a command that does not start. Only a shell completes the names of scripts.
pub(crate) const COMMAND_HINT: &str = "check the command's name and PATH; name scripts with their ending (`npm.cmd`), and run commands of the shell with \
     `cmd /c`";

/// What to do about a wrong clock.
pub(crate) const CLOCK_HINT: &str =
    "set it by NTP (`w32tm /resync`, as administrator); if it is right, tell the server's operator";

/// What to do without a keyring.
pub(crate) const NO_KEYRING_HINT: &str = "start the service Credential Manager (`sc.exe start VaultSvc`), or use none: `infra login --force --no-keyring`";

/// What to do about files that other users can reach.
pub(crate) const FILES_HINT: &str = "remove other users from the permissions of the directory and its files (`icacls` shows them); if its file system does \
     not support access lists (FAT, exFAT), set `INFRA_HOME` to a directory elsewhere";

/// What to do about files of another user. The home directory is a setting of the account.
pub(crate) const OTHER_USER_HINT: &str =
    "run `infra` as that user, or set `INFRA_HOME` to a directory of your own";

/// What to do without a home directory.
pub(crate) const NO_HOME_HINT: &str = "set INFRA_HOME";

/// What to do if the environment is that of a daemon for development that was stopped. It runs in WSL, or elsewhere.
pub(crate) const STALE_EXPORTS: &str =
    "if you started `infrad dev` again, set the variables to what it prints now";

/// What to do if nothing answers on this machine.
pub(crate) const LOOPBACK_HINT: &str = "start the daemon in WSL, or the tunnel to it; if you started `infrad dev` again, set the variables to what \
     it prints now";

/// How to use a second kubeconfig.
pub(crate) const SECOND_KUBECONFIG: &str =
    "`$env:KUBECONFIG = \"$HOME\\.kube\\config;$HOME\\.kube\\infra.yaml\"`";

/// How to write an absolute path. One without a drive depends on the working directory.
pub(crate) const ABSOLUTE_PATH_HINT: &str = r"begin it with a drive, such as `C:\`";

/// Shows which programs listen on ports.
pub(crate) const LISTENERS_COMMAND: &str = "netstat -ano -p tcp";

/// What to do about ports that the system reserves: Hyper-V, WSL and Docker reserve blocks of 100.
pub(crate) fn reserved_ports_hint<'a>(
    errors: impl IntoIterator<Item = &'a io::Error>,
) -> Option<&'static str> {
    let is_reserved = |error: &io::Error| error.raw_os_error() == Some(WSAEACCES);
    errors.into_iter().any(is_reserved).then_some(
        "Windows reserves ports in blocks (`netsh interface ipv4 show excludedportrange protocol=tcp` shows them): restart \
         Windows, which then often reserves others",
    )
}
