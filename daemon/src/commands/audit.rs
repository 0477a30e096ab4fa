//! `infrad audit verify`: checks that the audit log is an unbroken chain and explains the result.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use infra_shared::printable::counted;
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
            "name the right file with `--file FILE`, or run the command as a user that can read it",
        ),
        VerifyError::Empty => (
            "cannot verify the audit log",
            "if the daemon has written events to it, they were removed: compare it with a copy from another host",
        ),
        VerifyError::HeadMissing { .. } => (
            "the audit log was changed since this head was printed",
            "compare it with a copy from another host",
        ),
        VerifyError::ChainRestarts { .. } => (
            "the audit log contains more than one chain",
            "add `--journal` if this is a copy of the journal; a file has one chain, so otherwise lines were \
             inserted at its start or the log was replaced: compare it with a copy from another host",
        ),
        VerifyError::Broken { .. } | VerifyError::Foreign { .. } => (
            "the audit log is not an unbroken chain",
            "compare it with a copy from another host, starting at the line before the one named here: either of the \
             two may be the changed one",
        ),
    };
    Failure::failed(what).because(error).hint(hint)
}

fn configured(context: &Context) -> Result<PathBuf, Failure> {
    match context.read_config()?.audit {
        Some(AuditSettings::File { path, .. }) => Ok(path),
        Some(AuditSettings::Journal) => Err(Failure::usage("the audit log is in the journal").hint(
            "export it with `journalctl --identifier infrad-audit --output cat >audit.jsonl`, then run `infrad audit \
             verify --journal --file audit.jsonl`",
        )),
        None => Err(Failure::usage("the configuration has no audit log")
            .hint("configure one with `audit: {file: /var/log/infrad/audit.jsonl}`, or name a file with `--file FILE`")),
    }
}

/// Beginnings that are listed one by one: the last ones.
const MOST_LISTED: usize = 16;

fn describe(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, kept_head, cut_off, missing_events } =
        verified;
    let chains = match beginnings.len() {
        0 | 1 => "an unbroken chain".to_owned(),
        count => format!("{count} unbroken chains"),
    };
    let mut text =
        format!("{}: {chains} with {}, starting at number {first}\n", path.display(), size(*lines, *files));
    if beginnings.is_empty() {
        text.push_str(
            "the start of the chain is missing: verification covers only the lines from the first one on\n",
        );
    }
    if let Some((_, again)) = beginnings.split_first()
        && !again.is_empty()
    {
        let listed = again.get(again.len().saturating_sub(MOST_LISTED)..).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} later in the log, at {}{}: a chain proves only the lines after its start",
            counted(again.len(), "chain start"),
            if listed.len() < again.len() { "… " } else { "" },
            listed.iter().map(place).collect::<Vec<_>>().join("; ")
        );
    }
    if !gaps.is_empty() {
        let numbers: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "{} missing between the others: number {}",
            counted(gaps.len(), "rotated file"),
            numbers.join(", ")
        );
    }
    if *missing_events > 0 {
        let _ = writeln!(
            text,
            "missing events: {missing_events}, because they could not be written: search the log for `events_missing`"
        );
    }
    if *cut_off > 0 {
        let _ = writeln!(text, "{} cut off by a crash", counted(*cut_off, "line"));
    }
    let _ = match kept_head {
        Some(KeptHead { number, from }) => writeln!(
            text,
            "unchanged from {} up to event number {number}, which has the given head",
            place(from)
        ),
        None => writeln!(
            text,
            "store this head on another host and pass it to `--head` next time: only that detects a changed last \
             line, removed lines at the end, or a rewritten log"
        ),
    };
    let _ = writeln!(text, "head: {head}");
    text
}

fn place(Position { path, line }: &Position) -> String {
    format!("{}, line {line}", path.display())
}

fn size(lines: u64, files: usize) -> String {
    format!("{} in {}", counted(lines, "line"), counted(files, "file"))
}

fn as_json(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, kept_head, cut_off, missing_events } =
        verified;
    let position =
        |Position { path, line }: &Position| json!({"file": path.display().to_string(), "line": line});
    let report = json!({
        "schema": 1, "file": path.display().to_string(), "files": files, "lines": lines, "firstSequence": first,
        "chainStarts": beginnings.iter().map(position).collect::<Vec<_>>(), "missingFiles": gaps, "truncatedLines": cut_off, "missingEvents": missing_events, "head": head,
        "headSequence": kept_head.as_ref().map(|kept| kept.number),
        "headCoversFrom": kept_head.as_ref().map(|kept| position(&kept.from)),
    });
    format!("{report:#}\n")
}
