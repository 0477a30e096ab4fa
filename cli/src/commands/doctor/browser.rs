//! Checks which program a sign-in would use to open the browser.

use std::path::Path;

use infra_shared::printable::printable;

use super::super::login;
use super::{Check, Context};
use crate::browser_login::{Browser, openers};
use crate::platform::{BROWSER_HINT, OPENER, is_executable};
use crate::settings;

const NAME: &str = "browser";
/// Maximum length of a displayed variable.
const MAX_VALUE: usize = 200;

pub(super) fn check(context: &Context) -> Check {
    // As at a terminal: without one a sign-in opens no browser, and that is not a problem.
    let browser = login::browser(context, false, true, &settings::environment());
    if browser == Browser::Elsewhere {
        return Check::ok(
            NAME,
            None,
            "none on this machine: `infra login` prints the address, for you to open on yours",
        );
    }
    let path = context.settings.path.as_deref();
    let programs = openers(&browser, path);
    if let Some(found) = programs.iter().map(Path::new).find(|program| is_executable(program)) {
        return Check::ok(NAME, None, found.display().to_string());
    }
    let why = match &browser {
        Browser::Named(named) => {
            format!("`BROWSER` is `{}`, but there is no such program", printable(named, MAX_VALUE))
        }
        _ => format!("`PATH` contains no program that opens addresses, such as `{OPENER}`"),
    };
    Check::wrong(NAME, None, "cannot open a browser", Some(why), BROWSER_HINT)
}
