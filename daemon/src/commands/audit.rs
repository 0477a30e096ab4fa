//! `infrad audit verify`: checks that the audit log is an unbroken chain and explains the result.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::arguments::AuditCommand;
use crate::audit::{AuditSettings, KeptHead, Position, Verified, VerifyError, verify};
use crate::failure::Failure;

pub(super) fn run(context: &Context, command: &AuditCommand) -> Result<ExitCode, Failure> {
    let AuditCommand::Verify { file, journal, head, json } = command;
    let path = match file {
        Some(file) => file.clone(),
        None => configured(context)?,
    };
    let verified = verify(&path, head.as_deref(), *journal).map_err(|error| failure(&error))?;
    let text = if *json { as_json(&path, &verified) } else { describe(&path, &verified) };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &VerifyError) -> Failure {
    let (what, hint) = match error {
        VerifyError::Unreadable { .. } => (
            "cannot verify the audit log",
            "name the right file with `--file FILE`, or run this as a user that can read it",
        ),
        VerifyError::Empty => (
            "cannot verify the audit log",
            "if it should have lines, they were removed: compare it with a copy that was kept elsewhere",
        ),
        VerifyError::HeadMissing { .. } => (
            "the audit log was changed since this head was printed",
            "compare it with a copy that was kept elsewhere",
        ),
        VerifyError::ChainRestarts { .. } => (
            "the audit log is more than one chain",
            "if this is a copy of the journal, add `--journal`; a file has one chain, so compare it with a copy that was kept \
             elsewhere: lines were put in front, or the log was replaced",
        ),
        VerifyError::Broken { .. } | VerifyError::Foreign { .. } => (
            "the audit log is not an unbroken chain",
            "compare it with a copy that was kept elsewhere, from the line before the one that is named: nothing shows which of \
             both was changed, and lines further up are covered by the chain alone",
        ),
    };
    Failure::new(what).because(error).hint(hint)
}

fn configured(context: &Context) -> Result<PathBuf, Failure> {
    match context.read_config()?.audit {
        Some(AuditSettings::File { path, .. }) => Ok(path),
        Some(AuditSettings::Journal) => Err(Failure::usage("the audit log is in the journal").hint(
            "`journalctl --identifier infrad-audit --output cat >audit.jsonl`, then `infrad audit verify --journal --file audit.jsonl`",
        )),
        None => Err(Failure::usage("the configuration names no audit log")
            .hint("`audit: {file: /var/log/infra/audit.jsonl}`, or `--file FILE`")),
    }
}

/// Beginnings that are listed one by one: the last ones.
const MOST_LISTED: usize = 16;

fn describe(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, kept_head, cut_off } = verified;
    let chains = match beginnings.len() {
        0 | 1 => "an unbroken chain".to_owned(),
        count => format!("{count} unbroken chains"),
    };
    let mut text =
        format!("{}: {chains} of {}, from number {first}\n", path.display(), counted(*lines, *files));
    if beginnings.is_empty() {
        text.push_str(
            "its beginning is not there any more: what stood before the first line is not vouched for\n",
        );
    }
    if let Some((_, again)) = beginnings.split_first()
        && !again.is_empty()
    {
        let listed = again.get(again.len().saturating_sub(MOST_LISTED)..).unwrap_or_default();
        let _ = writeln!(
            text,
            "another chain begins {} times, last at {}: a chain does not cover the lines before its beginning",
            again.len(),
            listed.iter().map(place).collect::<Vec<_>>().join("; ")
        );
    }
    if !gaps.is_empty() {
        let numbers: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "not there, although later ones are: number {} of the files that were set aside",
            numbers.join(", ")
        );
    }
    if *cut_off > 0 {
        let _ = writeln!(text, "cut off by a crash: {cut_off} lines");
    }
    let _ = match kept_head {
        Some(KeptHead { number, from }) => writeln!(
            text,
            "unchanged from {} up to line number {number}, which has the head that was given",
            place(from)
        ),
        None => writeln!(
            text,
            "no line shows whether the last one was changed, lines after it were cut off, or all were written again: keep the head \
             elsewhere, and give it to `--head` the next time"
        ),
    };
    let _ = writeln!(text, "head: {head}");
    text
}

fn place(Position { path, line }: &Position) -> String {
    format!("{}, line {line}", path.display())
}

fn counted(lines: u64, files: usize) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    format!("{lines} line{} in {files} file{}", plural(lines), plural(files as u64))
}

fn as_json(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, kept_head, cut_off } = verified;
    let position =
        |Position { path, line }: &Position| json!({"file": path.display().to_string(), "line": line});
    let report = json!({
        "schema": 1, "file": path.display().to_string(), "files": files, "lines": lines, "firstSequence": first,
        "chainStarts": beginnings.iter().map(position).collect::<Vec<_>>(), "missingFiles": gaps, "truncatedLines": cut_off, "head": head,
        "headSequence": kept_head.as_ref().map(|kept| kept.number),
        "headCoversFrom": kept_head.as_ref().map(|kept| position(&kept.from)),
    });
    format!("{report:#}\n")
}
