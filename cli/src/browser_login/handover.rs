//! Hands the sign-in's address to the program that opens the browser. Every local user can read command-line
//! arguments. So either the listener admits only this user's connections, or the address is in a file that only this
//! user can read.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::Browser;
use super::listener::AllowedPeers;
use crate::platform::{can_identify_owners, file_url};
use crate::settings::Environment;

/// How the address is handed over on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandoverMethod {
    /// As an argument. This works in every browser, including a confined one that cannot read hidden directories.
    Argument(AllowedPeers),
    /// In a file, if the system does not show which user owns a connection.
    File,
}

/// An address that was handed over. Drop removes its file.
pub(super) struct Handover {
    argument: String,
    _file: Option<NamedTempFile>,
}

impl HandoverMethod {
    /// Chooses how to hand over the address when `browser` opens in `environment`.
    pub(super) fn find(browser: &Browser, environment: &Environment) -> Self {
        if *environment == Environment::WSL || *browser == Browser::Windows {
            // The Windows browser cannot read this user's files by their Linux path.
            Self::Argument(AllowedPeers::ThisUserAndWindows)
        } else if can_identify_owners() {
            Self::Argument(AllowedPeers::ThisUser)
        } else {
            Self::File
        }
    }

    /// Connections that the listener admits to the address.
    pub(super) fn allowed_peers(self) -> AllowedPeers {
        match self {
            Self::Argument(allowed_peers) => allowed_peers,
            Self::File => AllowedPeers::All,
        }
    }

    /// Hands over `address`. A file is written to `home`, which is private.
    pub(super) fn hand_over(self, address: &str, home: &Path) -> io::Result<Handover> {
        if self != Self::File {
            return Ok(Handover { argument: address.to_owned(), _file: None });
        }
        // `tempfile` creates it with mode 0600.
        let mut file = tempfile::Builder::new().prefix("browser-").suffix(".html").tempfile_in(home)?;
        file.write_all(page(address).as_bytes())?;
        let argument = file_url(file.path()).ok_or(io::ErrorKind::InvalidFilename)?;
        Ok(Handover { argument, _file: Some(file) })
    }
}

impl Handover {
    /// The program's argument: the address, or the URL of the file that redirects to it.
    pub(super) fn argument(&self) -> &str {
        &self.argument
    }
}

/// An HTML page that redirects to `address`, which contains only letters, digits, `:`, `/` and `.`.
fn page(address: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0;url={address}\"><title>infra login</title></head>\
         <body><p><a href=\"{address}\">Continue to the sign-in</a></p></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use url::Url;

    use super::*;
    use crate::platform::open_to_others;

    const ADDRESS: &str = "http://127.0.0.1:8301/go/x";

    #[test]
    fn handover_file_is_private_and_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let handed_over = HandoverMethod::File.hand_over(ADDRESS, home.path()).expect("a file");
        let path = Url::parse(handed_over.argument()).expect("a URL").to_file_path().expect("a path");
        assert!(path.starts_with(home.path()), "{}", path.display());
        assert!(fs::read_to_string(&path).expect("our file").contains(&format!("url={ADDRESS}")));
        let metadata = fs::metadata(&path).expect("our file");
        assert_eq!(open_to_others(&path, &metadata).expect("our file"), None);
        drop(handed_over);
        assert!(!path.exists());
    }

    #[test]
    fn address_is_an_argument_only_if_peers_are_checked() {
        let windows = HandoverMethod::Argument(AllowedPeers::ThisUserAndWindows);
        assert_eq!(HandoverMethod::find(&Browser::Named("wslview".to_owned()), &Environment::WSL), windows);
        assert_eq!(HandoverMethod::File.allowed_peers(), AllowedPeers::All);
        let here = HandoverMethod::find(&Browser::Desktop, &Environment::Machine);
        assert_eq!(
            here,
            if can_identify_owners() {
                HandoverMethod::Argument(AllowedPeers::ThisUser)
            } else {
                HandoverMethod::File
            }
        );
        let handed_over = windows.hand_over(ADDRESS, Path::new("/nowhere")).expect("no file is needed");
        assert_eq!(handed_over.argument(), ADDRESS);
    }
}
