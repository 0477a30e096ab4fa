//! `audit`: destination and size of the audit log.

use crate::audit::AuditSettings;

use super::error::FaultAt;
use super::section::Field;
use super::settings::absolute_path;

const MAX_BYTES: u32 = 16 * 1024 * 1024;
const KEEP: u32 = 8;

pub(super) fn read(field: &Field<'_>) -> Result<Option<AuditSettings>, FaultAt> {
    let section = field.section("audit")?;
    let max_bytes = section.find("maxBytes").map(|field| field.whole("16777216"));
    let keep = section.find("maxRotatedFiles").map(|field| field.whole("8"));
    let (max_bytes, keep) = (max_bytes.transpose()?.unwrap_or(MAX_BYTES), keep.transpose()?.unwrap_or(KEEP));
    let journal = section.flag("journal")?;
    match section.find("file") {
        Some(file) if journal => {
            Err(file.wrong("absent, because only one of `file` and `journal` is allowed"))
        }
        Some(file) => {
            let path = absolute_path(&file, "/var/log/infra/audit.jsonl")?;
            Ok(Some(AuditSettings::File { path, max_bytes: max_bytes.into(), keep }))
        }
        None => Ok(journal.then_some(AuditSettings::Journal)),
    }
}
