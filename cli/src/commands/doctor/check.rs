//! One check: its subject and its result.

use std::fmt::Write;

use serde::Serialize;

/// A check's result, for people and for JSON.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    name: &'static str,
    /// The server or provider, if there may be several.
    subject: Option<String>,
    status: Status,
    message: String,
    cause: Option<String>,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Failed,
    /// The check could not run.
    Skipped,
}

impl Check {
    pub(super) fn ok(name: &'static str, subject: Option<String>, message: impl Into<String>) -> Self {
        Self { name, subject, status: Status::Ok, message: message.into(), cause: None, hint: None }
    }

    pub(super) fn skipped(name: &'static str, subject: Option<String>, message: impl Into<String>) -> Self {
        Self { status: Status::Skipped, ..Self::ok(name, subject, message) }
    }

    /// A problem with its cause and a hint.
    pub(super) fn wrong(
        name: &'static str,
        subject: Option<String>,
        message: impl Into<String>,
        cause: Option<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status: Status::Failed, cause, hint: Some(hint.into()), ..Self::ok(name, subject, message) }
    }

    pub(super) fn is_problem(&self) -> bool {
        self.status == Status::Failed
    }

    pub(super) fn text(&self) -> String {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Skipped => "-",
        };
        let mut text = format!("{status:<7}{:<10}", self.name);
        if let Some(subject) = &self.subject {
            let _ = write!(text, "{subject}: ");
        }
        let _ = writeln!(text, "{}", self.message);
        for (name, line) in [("because", &self.cause), ("try", &self.hint)] {
            if let Some(line) = line {
                let _ = writeln!(text, "{:17}{name}: {line}", "");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_has_one_line_and_problem_has_three() {
        assert_eq!(Check::ok("browser", None, "/usr/bin/x").text(), "ok     browser   /usr/bin/x\n");
        let subject = Some("https://a.test".to_owned());
        let wrong = Check::wrong("clock", subject, "is wrong", Some("it is".to_owned()), "`date`");
        assert_eq!(
            wrong.text(),
            "failed clock     https://a.test: is wrong\n                 because: it is\n                 try: `date`\n"
        );
    }
}
