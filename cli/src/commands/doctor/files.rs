//! Checks the files in `~/.infra`.

use infra_shared::printable::counted;

use super::Check;
use crate::home::{Home, Inspection};

const NAME: &str = "files";

pub(super) fn check(home: &Home, inspection: &Inspection) -> Check {
    let path = home.path().display();
    if !inspection.problems.is_empty() {
        let problems: Vec<String> = inspection.problems.iter().map(ToString::to_string).collect();
        return Check::wrong(
            NAME,
            None,
            format!("{path} is not as it should be"),
            Some(problems.join("; ")),
            "what stands there; the directory is to be yours alone (0700), and so are the files in it (0600); where its file \
             system keeps no modes, `INFRA_HOME` set to a directory elsewhere",
        );
    }
    match inspection.files {
        Some(files) => Check::ok(NAME, None, format!("{path} is yours alone ({})", counted(files, "file"))),
        None => Check::ok(NAME, None, format!("{path} is not there yet, and can be made")),
    }
}
