//! `infrad certificate renew`: makes the running daemon renew its certificate now.

use std::process::ExitCode;

use super::Context;
use super::status::{ask_daemon, describe_certificates};
use crate::control::{DaemonStatus, Operation};
use crate::failure::Failure;
use crate::tls::Source;

pub(super) async fn renew(context: &Context) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    let running: DaemonStatus = ask_daemon(&config, Operation::Status).await?;
    let is_from = |source| running.certificates.iter().any(|certificate| certificate.source == source);
    if is_from(Source::Files) {
        return Err(Failure::usage("there is nothing to renew")
            .because_text("the certificate comes from the files of `tls.files`, which the daemon reads every two seconds".to_owned())
            .hint("replace the files; `infrad status` shows what is served"));
    }
    context.terminal.say(if is_from(Source::Acme) {
        "ordering a new certificate by ACME; this may take a minute or two …"
    } else {
        "without ACME there is nothing to order: the daemon's own authority issues its certificate, and a new one a month \
         before it expires; it issues another one now …"
    });
    let status = ask_daemon(&config, Operation::RenewCertificate).await?;
    let text = describe_certificates(&status).join("\n") + "\n";
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
