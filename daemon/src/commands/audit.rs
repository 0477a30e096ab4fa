//! `infrad audit verify`: whether the audit log is whole.

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
    let Verified { files, lines, first, head, cut_off } = verified;
    let crashes = if *cut_off > 0 { format!("cut off by a crash: {cut_off} lines\n") } else { String::new() };
    let path = path.display();
    format!(
        "{path} is whole: {lines} lines in {files} files, from number {first} on\n{crashes}head: {head}\n"
    )
}

fn as_json(path: &Path, verified: &Verified) -> String {
    let Verified { files, lines, first, head, cut_off } = verified;
    let report = json!({
        "schema": 1, "file": path.display().to_string(), "files": files, "lines": lines, "first": first,
        "cutOff": cut_off, "head": head,
    });
    format!("{report:#}\n")
}
