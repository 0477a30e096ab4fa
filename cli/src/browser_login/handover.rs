//! How the program that opens the browser gets the login's address. Arguments are public on a machine, so either the
//! listener answers this user's connections only, or the address is in a file that only this user reads.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use url::Url;

use super::Browser;
use super::listener::{Admitted, owners_are_told};
use crate::settings::Place;

/// The way of handing over that fits this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As an argument. Every browser opens it, also one that is confined and reads no hidden directory.
    Argument(Admitted),
    /// In a file, where the owners of connections are not known.
    File,
}

/// An address that was handed over. Dropped, it takes its file away.
pub(super) struct Handover {
    argument: String,
    _file: Option<NamedTempFile>,
}

impl Way {
    /// The way for a login that opens `browser` in `place`.
    pub(super) fn find(browser: &Browser, place: &Place) -> Self {
        if *place == Place::WSL || *browser == Browser::OfWindows {
            // The browser of Windows reads no file of this user's by its path here.
            Self::Argument(Admitted::ThisUserAndWindows)
        } else if owners_are_told() {
            Self::Argument(Admitted::ThisUser)
        } else {
            Self::File
        }
    }

    /// Whose connections the listener admits to the address.
    pub(super) fn admitted(self) -> Admitted {
        match self {
            Self::Argument(admitted) => admitted,
            Self::File => Admitted::All,
        }
    }

    /// Hands over `address`; a file lies in `home`, which is private.
    pub(super) fn hand_over(self, address: &str, home: &Path) -> io::Result<Handover> {
        if self != Self::File {
            return Ok(Handover { argument: address.to_owned(), _file: None });
        }
        // Its mode is 0600.
        let mut file = tempfile::Builder::new().prefix("browser-").suffix(".html").tempfile_in(home)?;
        file.write_all(page(address).as_bytes())?;
        let url = Url::from_file_path(file.path()).map_err(|()| io::ErrorKind::InvalidFilename)?;
        Ok(Handover { argument: url.to_string(), _file: Some(file) })
    }
}

impl Handover {
    /// What the program is given: the address, or that of the file which leads to it.
    pub(super) fn argument(&self) -> &str {
        &self.argument
    }
}

/// A page that leads to `address`, which holds letters, digits, `:`, `/` and `.` only.
fn page(address: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0;url={address}\"><title>infra login</title></head>\
         <body><p><a href=\"{address}\">Continue to the login</a></p></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ADDRESS: &str = "http://127.0.0.1:8301/go/x";

    #[test]
    fn file_that_leads_to_the_address_is_private_and_taken_away() {
        let home = tempfile::tempdir().expect("a directory");
        let handed_over = Way::File.hand_over(ADDRESS, home.path()).expect("a file");
        let path = Url::parse(handed_over.argument()).expect("a URL").to_file_path().expect("a path");
        assert!(path.starts_with(home.path()), "{}", path.display());
        assert!(fs::read_to_string(&path).expect("our file").contains(&format!("url={ADDRESS}")));
        let mode = fs::metadata(&path).expect("our file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(handed_over);
        assert!(!path.exists());
    }

    #[test]
    fn address_is_an_argument_only_where_others_are_refused() {
        let windows = Way::Argument(Admitted::ThisUserAndWindows);
        assert_eq!(Way::find(&Browser::Named("wslview".to_owned()), &Place::WSL), windows);
        assert_eq!(Way::File.admitted(), Admitted::All);
        let here = Way::find(&Browser::Desktop, &Place::Machine);
        assert_eq!(here, if owners_are_told() { Way::Argument(Admitted::ThisUser) } else { Way::File });
        let handed_over = windows.hand_over(ADDRESS, Path::new("/nowhere")).expect("no file is needed");
        assert_eq!(handed_over.argument(), ADDRESS);
    }
}
