//! The Chromium of this machine as the `BROWSER` of a login, driven by what `tests/peers/install` installs.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::pin::Pin;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::Call;
use crate::{peers, wait};

/// A browser starts, signs in and takes pictures in seconds, on a busy machine too.
const LIMIT: Duration = Duration::from_mins(1);

/// A browser with a person at it; what they see is reported at the end.
pub struct RealBrowser {
    directory: TempDir,
    environment: Vec<(&'static str, OsString)>,
}

impl RealBrowser {
    /// One that trusts the authority with this key, beside the usual ones. `None`, said loudly, where there is none; in
    /// continuous integration (`CI=true`) that fails the test.
    pub fn trusting(authority: &Pin) -> Option<Self> {
        let folder = peers::find("browser", "node_modules")?;
        let chromium = peers::find_program("chromium")?;
        let directory = TempDir::with_prefix("infra-real-browser-").expect("a temporary directory");
        // Two words, each quoted: as a user may write it.
        let program = format!("'{}' '{}'", peers::node().display(), folder.join("drive.mjs").display());
        let environment = vec![
            ("BROWSER", program.into()),
            ("DRIVE_CHROMIUM", chromium.into()),
            ("DRIVE_AUTHORITY", BASE64_STANDARD.encode(bytes(authority)).into()),
            ("DRIVE_REPORT", directory.path().join("report").into()),
        ];
        Some(Self { directory, environment })
    }

    /// The person presses "Cancel".
    #[must_use]
    pub fn cancelling(mut self) -> Self {
        self.environment.push(("DRIVE_CANCEL", "1".into()));
        self
    }

    /// The provider asks the person for nothing.
    #[must_use]
    pub fn without_a_form(mut self) -> Self {
        self.environment.push(("DRIVE_NO_FORM", "1".into()));
        self
    }

    /// Other programs on 127.0.0.1 have set this many bytes of cookies.
    #[must_use]
    pub fn with_cookies(mut self, bytes: usize) -> Self {
        self.environment.push(("DRIVE_COOKIES", bytes.to_string().into()));
        self
    }

    /// A second tab brings the response too, as a reload does. It is the one that is reported.
    #[must_use]
    pub fn coming_again(mut self) -> Self {
        self.environment.push(("DRIVE_AGAIN", "1".into()));
        self
    }

    /// With `UPDATE=1` keeps pictures of the last page in `folder`: wide and narrow, light and dark.
    #[must_use]
    pub fn picturing_on_update(mut self, folder: &Path, name: &str) -> Self {
        if std::env::var_os("UPDATE").is_none() {
            return self;
        }
        self.environment.extend([("DRIVE_PICTURES", folder.into()), ("DRIVE_NAME", name.into())]);
        self
    }

    /// Makes it the browser of a login.
    #[must_use]
    pub fn give<'a>(&self, call: Call<'a>) -> Call<'a> {
        self.environment.iter().fold(call, |call, (name, value)| call.env(name, value))
    }

    /// What the person saw, once the browser is closed.
    pub fn report(&self) -> Value {
        let report = self.directory.path().join("report");
        let text = wait::until(LIMIT, || std::fs::read_to_string(&report).ok());
        let text = text.unwrap_or_else(|| panic!("the browser reported nothing within {LIMIT:?}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}"))
    }
}

fn bytes(pin: &Pin) -> Vec<u8> {
    let pin = pin.to_string();
    let digits = pin.strip_prefix("sha256:").expect("the form of a pin");
    let byte = |position| u8::from_str_radix(&digits[position..position + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
