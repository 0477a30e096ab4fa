//! `audit`: where the audit log goes.

use crate::audit::AuditSettings;

use super::error::FaultAt;
use super::section::{Field, Keys};
use super::settings::absolute_path;

const AUDIT: Keys = Keys(&["file", "maxBytes", "keep", "journal"]);
const MAX_BYTES: u32 = 16 * 1024 * 1024;
const KEEP: u32 = 8;

pub(super) fn read(field: &Field<'_>) -> Result<Option<AuditSettings>, FaultAt> {
    let section = field.section(AUDIT)?;
    let max_bytes = section.find("maxBytes").map(|field| field.whole(&(4096..=1_000_000_000), "16777216"));
    let keep = section.find("keep").map(|field| field.whole(&(0..=1_000), "8"));
    let (max_bytes, keep) = (max_bytes.transpose()?.unwrap_or(MAX_BYTES), keep.transpose()?.unwrap_or(KEEP));
    let journal = section.find("journal").map_or(Ok(false), |field| field.boolean())?;
    match section.find("file") {
        Some(file) if journal => Err(file.wrong("the only one of `file` and `journal`")),
        Some(file) => {
            let path = absolute_path(&file, "/var/log/infra/audit.jsonl")?;
            Ok(Some(AuditSettings::File { path, max_bytes: max_bytes.into(), keep }))
        }
        None => Ok(journal.then_some(AuditSettings::Journal)),
    }
}
