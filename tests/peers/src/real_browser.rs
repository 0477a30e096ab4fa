//! This machine's Chromium as the `BROWSER` of a login, driven by a script that `tests/peers/install`
//! installs.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::pin::Pin;
use serde_json::Value;
use tempfile::TempDir;

use infra_harness::program::Call;
use infra_harness::{peers, wait};

/// Time limit for start, sign-in and screenshots on a busy machine; usually they take seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// A browser with a user; it reports at the end what the user saw.
pub struct RealBrowser {
    directory: TempDir,
    environment: Vec<(&'static str, OsString)>,
}

impl RealBrowser {
    /// A browser that trusts the CA with this key, in addition to the usual ones. Returns `None` and reports
    /// a skip without Chromium; in continuous integration (`CI=true`) that fails the test.
    pub fn trusting(authority: &Pin) -> Option<Self> {
        let folder = peers::find("browser", "node_modules")?;
        let chromium = peers::find_program("chromium")?;
        let directory = TempDir::with_prefix("infra-real-browser-").expect("a temporary directory");
        // Two quoted words, as a user may write them.
        let program = format!("'{}' '{}'", peers::node().display(), folder.join("drive.mjs").display());
        let environment = vec![
            ("BROWSER", program.into()),
            ("DRIVE_CHROMIUM", chromium.into()),
            ("DRIVE_AUTHORITY", BASE64_STANDARD.encode(bytes(authority)).into()),
            ("DRIVE_REPORT", directory.path().join("report").into()),
        ];
        Some(Self { directory, environment })
    }

    /// The user clicks "Cancel".
    #[must_use]
    pub fn cancelling(mut self) -> Self {
        self.environment.push(("DRIVE_CANCEL", "1".into()));
        self
    }

    /// The provider signs in the user without a page.
    #[must_use]
    pub fn without_sign_in_page(mut self) -> Self {
        self.environment.push(("DRIVE_NO_FORM", "1".into()));
        self
    }

    /// Sets this many bytes of cookies on 127.0.0.1, as other local programs may.
    #[must_use]
    pub fn with_cookies(mut self, bytes: usize) -> Self {
        self.environment.push(("DRIVE_COOKIES", bytes.to_string().into()));
        self
    }

    /// A second tab delivers the response, too, as a reload does. The report is about that tab.
    #[must_use]
    pub fn reloading_callback(mut self) -> Self {
        self.environment.push(("DRIVE_AGAIN", "1".into()));
        self
    }

    /// With `UPDATE=1`, stores screenshots of the last page in `folder`: wide and narrow, light and dark.
    #[must_use]
    pub fn with_screenshots_on_update(mut self, folder: &Path, name: &str) -> Self {
        if std::env::var_os("UPDATE").is_none() {
            return self;
        }
        self.environment.extend([("DRIVE_PICTURES", folder.into()), ("DRIVE_NAME", name.into())]);
        self
    }

    /// Makes it the browser of a login.
    #[must_use]
    pub fn as_browser_of<'a>(&self, call: Call<'a>) -> Call<'a> {
        self.environment.iter().fold(call, |call, (name, value)| call.env(name, value))
    }

    /// The report of the browser after it closed.
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
