//! What a login would open the browser with.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use infra_shared::printable::printable;

use super::super::login;
use super::{Check, Context};
use crate::browser_login::{Browser, openers};

const NAME: &str = "browser";
/// More of a variable than anybody reads.
const MAX_VALUE: usize = 200;
const HINT: &str = "install `xdg-utils`, or set `BROWSER` to the path of one, or `infra login --no-browser`";

pub(super) fn check(context: &Context) -> Check {
    // As at a terminal: without one no browser opens, and nothing is wrong with that.
    let browser = login::browser(context, false, true);
    if browser == Browser::Elsewhere {
        return Check::ok(
            NAME,
            None,
            "none on this machine: a login prints the address, to be opened on yours",
        );
    }
    let path = context.settings.path.as_deref().unwrap_or_default();
    let programs = openers(&browser);
    if let Some(found) = programs.iter().find_map(|program| find(program, path)) {
        return Check::ok(NAME, None, found.display().to_string());
    }
    let why = if let Browser::Named(named) = &browser {
        format!("`BROWSER` is `{}`, and no program of that name was found", printable(named, MAX_VALUE))
    } else {
        let tried: Vec<_> = programs.iter().map(|program| program.to_string_lossy().into_owned()).collect();
        format!("none of these is in `PATH`: {}", tried.join(", "))
    };
    Check::wrong(NAME, None, "no browser can be opened here", Some(why), HINT)
}

/// The file of a program, looked for where a login looks for it.
fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let is_path = Path::new(program).components().count() > 1;
    let candidates: Vec<PathBuf> = if is_path {
        vec![PathBuf::from(program)]
    } else {
        env::split_paths(path).map(|folder| folder.join(program)).collect()
    };
    candidates.into_iter().find(|file| file.is_absolute() && file.is_file())
}
