//! Checks which program a sign-in would use to open the browser.

use std::path::Path;

use infra_shared::printable::printable;
use rustix::fs::Access;

use super::super::login;
use super::{Check, Context};
use crate::browser_login::{Browser, openers};
use crate::settings;

const NAME: &str = "browser";
/// Maximum length of a displayed variable.
const MAX_VALUE: usize = 200;
const HINT: &str = "install `xdg-utils`, or set `BROWSER` to the path of one, or `infra login --no-browser`";

pub(super) fn check(context: &Context) -> Check {
    // As at a terminal: without one a sign-in opens no browser, and that is not a problem.
    let browser = login::browser(context, false, true, &settings::environment());
    if browser == Browser::Elsewhere {
        return Check::ok(
            NAME,
            None,
            "none on this machine: a login prints the address, to be opened on yours",
        );
    }
    let path = context.settings.path.as_deref();
    let programs = openers(&browser, path);
    if let Some(found) = programs.iter().map(Path::new).find(|program| is_program(program)) {
        return Check::ok(NAME, None, found.display().to_string());
    }
    let why = match &browser {
        Browser::Named(named) => {
            format!("`BROWSER` is `{}`, and no such program was found", printable(named, MAX_VALUE))
        }
        _ => "no program that opens addresses, such as `xdg-open`, is in `PATH`".to_owned(),
    };
    Check::wrong(NAME, None, "no browser can be opened here", Some(why), HINT)
}

/// Whether a file is executable. Windows resolves its programs by names that are not Linux files.
fn is_program(file: &Path) -> bool {
    cfg!(windows) || file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok()
}
