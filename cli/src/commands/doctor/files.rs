//! Checks the files in `~/.infra`.

use infra_shared::printable::counted;

use super::Check;
use crate::home::{Home, Inspection};
use crate::platform::FILES_HINT;

const NAME: &str = "files";

pub(super) fn check(home: &Home, inspection: &Inspection) -> Check {
    let path = home.path().display();
    if !inspection.problems.is_empty() {
        let problems: Vec<String> = inspection.problems.iter().map(ToString::to_string).collect();
        return Check::wrong(
            NAME,
            None,
            format!("{path} has {}", counted(problems.len(), "problem")),
            Some(problems.join("; ")),
            FILES_HINT,
        );
    }
    match inspection.files {
        Some(files) => {
            Check::ok(NAME, None, format!("{path} is accessible only to you ({})", counted(files, "file")))
        }
        None => Check::ok(NAME, None, format!("{path} does not exist yet; `infra login` creates it")),
    }
}
