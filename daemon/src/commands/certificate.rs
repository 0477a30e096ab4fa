//! `infrad certificate renew`: makes the running daemon renew its certificate now.

use std::process::ExitCode;

use infra_shared::clock::{Clock, SystemClock};

use super::Context;
use super::status::{call_daemon, describe_certificates};
use crate::control::{DaemonStatus, Operation};
use crate::failure::Failure;
use crate::tls::Source;

pub(super) async fn renew(context: &Context) -> Result<ExitCode, Failure> {
    let data_dir = context.find_running()?;
    let running: DaemonStatus = call_daemon(&data_dir, Operation::Status).await?;
    let is_from = |source| running.certificates.iter().any(|certificate| certificate.source == source);
    if is_from(Source::Files) {
        return Err(Failure::usage("there is nothing to renew")
            .because_text(
                "the certificate comes from the files in `tls.files`, which the daemon loads within about five seconds"
                    .to_owned(),
            )
            .hint("replace the files, then check the new dates with `infrad status`"));
    }
    context.terminal.say(if is_from(Source::Acme) {
        "ordering a new ACME certificate; this can take two minutes …"
    } else {
        "issuing a new certificate from the daemon's own CA; the daemon also does this automatically, a month before \
         the certificate expires …"
    });
    let status: DaemonStatus = call_daemon(&data_dir, Operation::RenewCertificate).await?;
    let text = describe_certificates(&status, SystemClock.now()).join("\n") + "\n";
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
