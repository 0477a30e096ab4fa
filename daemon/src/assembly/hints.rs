//! What an operator can do if the daemon cannot start.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use super::AssemblyError;
use crate::listener::lacks_ipv6;
use crate::platform::start_once;
use crate::store::StoreError;
use crate::tls::TlsError;

impl AssemblyError {
    /// What to try, if the text itself does not say it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Platform(platform) => platform.hint().map(ToOwned::to_owned),
            Self::Audit(audit) => Some(audit.hint()),
            Self::Tls(TlsError::Files(files)) => Some(files.hint().to_owned()),
            Self::NoStore { .. } => Some(
                "create one with `infrad serve`, or restore a backup with `infrad restore FILE`".to_owned(),
            ),
            Self::Store(StoreError::NoSchema { .. }) => {
                Some("create it once, on one host: `infrad database create`".to_owned())
            }
            Self::Store(StoreError::OlderSchema { .. }) => Some(
                "make a backup with the infrad before, then upgrade the schema once, on one host: `infrad database create`"
                    .to_owned(),
            ),
            Self::Store(StoreError::Unavailable { problem, .. }) => Some(problem.hint().to_owned()),
            Self::Store(StoreError::Forbidden(_))
            | Self::SharedDatabase { source: StoreError::Forbidden(_), .. } => {
                Some("run `infrad check --live`: it names the rights that the role lacks".to_owned())
            }
            Self::Store(StoreError::NoAnswer { .. }) => Some(
                "run `infrad check --live`: it shows if the database waits for a synchronous standby"
                    .to_owned(),
            ),
            Self::Store(StoreError::NotReady { state, .. }) => state.hint().map(ToOwned::to_owned),
            Self::Tls(TlsError::Store(error)) if error.is_lost_authority() => Some(format!(
                "while another daemon runs with this database, it stores the CA again: start this one again; otherwise restore \
                 a backup or a dump; only if you want another CA, whose fingerprint every user has to accept: {}",
                start_once("--new-store")
            )),
            Self::Moved { .. } => Some(format!(
                "add `database` to the configuration, or move the store back: `infrad database move --to-file`; only if the \
                 database is lost, accept the file as it is, which revokes all sessions: {}",
                start_once("--accept-rollback")
            )),
            Self::SharedDatabase { .. } => {
                Some("look for the cause in the log of the PostgreSQL server".to_owned())
            }
            Self::RolledBack { .. } => {
                Some(format!("to accept the data as it is: {}", start_once("--accept-rollback")))
            }
            Self::NewStore { .. } => Some(format!(
                "only if you want a new store, with another fingerprint: {}",
                start_once("--new-store")
            )),
            Self::Listen { address, source } => hint_for_listening(*address, source),
            Self::Database { data_dir, .. } => Some(format!(
                "free space if `df {data_dir}` shows a full file system; otherwise look for disk errors: `journalctl \
                 -k`"
            )),
            Self::ControlSocket { data_dir, source } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    Some(format!("free space on the file system of {data_dir}: `df {data_dir}`"))
                }
                // The path of a socket has 107 bytes at most (unix(7)).
                ErrorKind::InvalidInput => Some("set `dataDir` to a shorter path".to_owned()),
                _ => Some(format!(
                    "let infrad's user create files in {data_dir}, and use a file system that supports sockets"
                )),
            },
            _ => None,
        }
    }
}

fn hint_for_listening(address: SocketAddr, error: &io::Error) -> Option<String> {
    let port = address.port();
    if address.is_ipv6() && lacks_ipv6(error) {
        return Some(format!(
            "listen on IPv4 (`\"0.0.0.0:{port}\"`), or enable IPv6 on this host and assign it this address"
        ));
    }
    match error.kind() {
        ErrorKind::AddrInUse => Some(format!(
            "find the program that uses the port with `ss -ltnp 'sport = :{port}'` and stop it, or listen on another \
             port"
        )),
        ErrorKind::AddrNotAvailable => Some(format!(
            "listen on an address of this host (`ip address` lists them), or on all addresses (`\"[::]:{port}\"`)"
        )),
        ErrorKind::PermissionDenied => Some(format!(
            "let systemd open the port (`ListenStream={port}` in infrad.socket); or allow infrad to open it, with \
             `AmbientCapabilities=CAP_NET_BIND_SERVICE` in your own unit or with `setcap cap_net_bind_service=+ep \
             {}`; or listen on a port above 1023",
            std::env::current_exe().map_or_else(|_| "infrad".to_owned(), |path| path.display().to_string())
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_for_not_listening_has_its_own_advice() {
        use rustix::io::Errno;
        for (address, errno, expected) in [
            ("127.0.0.1:443", Errno::ADDRINUSE, "'sport = :443'"),
            ("192.0.2.1:443", Errno::ADDRNOTAVAIL, "`ip address`"),
            ("[2001:db8::1]:443", Errno::ADDRNOTAVAIL, "\"0.0.0.0:443\""),
            ("[::1]:443", Errno::AFNOSUPPORT, "enable IPv6"),
            ("0.0.0.0:443", Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            ("0.0.0.0:443", Errno::ACCESS, "`ListenStream=443`"),
            ("0.0.0.0:443", Errno::ACCESS, "setcap cap_net_bind_service=+ep /"),
            ("0.0.0.0:443", Errno::ACCESS, "above 1023"),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            let error = AssemblyError::Listen { address, source: errno.into() };
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(expected), "{address} {errno}: {hint}");
        }
    }
}
