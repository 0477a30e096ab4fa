//! `infrad audit verify`: whether the audit log is whole.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::Context;
use crate::arguments::AuditCommand;
use crate::audit::{AuditSettings, Verified, verify};
use crate::failure::Failure;

pub(super) fn run(context: &Context, command: &AuditCommand) -> Result<ExitCode, Failure> {
    let AuditCommand::Verify { file, json } = command;
    let path = match file {
        Some(file) => file.clone(),
        None => configured(context)?,
    };
    let verified = verify(&path).map_err(|error| {
        Failure::new("the audit log is not whole").because(&error).hint(
            "compare it with a copy that was kept elsewhere; what stands before that line is as it was written",
        )
    })?;
    let text = if *json { as_json(&path, &verified) } else { describe(&path, &verified) };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn configured(context: &Context) -> Result<PathBuf, Failure> {
    match context.read_config()?.audit {
        Some(AuditSettings::File { path, .. }) => Ok(path),
        Some(AuditSettings::Journal) => Err(Failure::usage("the audit log is in the journal").hint(
            "`journalctl --identifier infrad-audit --output cat >audit.jsonl`, then `infrad audit verify --file audit.jsonl`",
        )),
        None => Err(Failure::usage("the configuration names no audit log")
            .hint("`audit: {file: /var/log/infra/audit.jsonl}`, or `--file FILE`")),
    }
}

fn describe(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, cut_off } = verified;
    let mut text =
        format!("{} is whole: {lines} lines in {files} files, from number {first} on\n", path.display());
    if *beginnings == 0 {
        text.push_str(
            "its beginning is not there any more: what stood before the first line is not vouched for\n",
        );
    }
    if *beginnings > 1 {
        let _ = writeln!(
            text,
            "it begins anew {} times: what stands before a beginning is not vouched for by what follows",
            beginnings - 1
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
    let _ = writeln!(text, "head: {head}");
    text
}

fn as_json(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, beginnings, gaps, head, cut_off } = verified;
    let report = json!({
        "schema": 1, "file": path.display().to_string(), "files": files, "lines": lines, "first": first,
        "beginnings": beginnings, "gaps": gaps, "cutOff": cut_off, "head": head,
    });
    format!("{report:#}\n")
}
