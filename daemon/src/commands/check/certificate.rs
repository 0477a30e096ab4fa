//! Checks the certificate files of the configuration.

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::when;

use super::access::{fails, other_user};
use crate::assembly::expected_public_urls;
use crate::commands::Context;
use crate::config::Config;
use crate::identity::Outcome;
use crate::tls::{CertificateFiles, Expiry, FilesError, Validity};

/// The validity of the certificate files, if they can be served for the preferred address.
pub(super) fn validity(config: &Config, files: &CertificateFiles) -> Result<Validity, FilesError> {
    let first = expected_public_urls(config).first().map(|origin| origin.host().to_owned());
    files.check_certificate(&Vec::from_iter(first), SystemClock.now())
}

/// Whether the files can be served. Warns of a certificate that expires soon, as `infrad status` does.
pub(super) fn check(context: &Context, config: &mut Config, files: &CertificateFiles) -> Outcome {
    match validity(config, files) {
        Ok(validity) => {
            if validity.expiry(SystemClock.now()) == Expiry::Soon {
                let warning = format!(
                    "the certificate in {} expires on {}: replace both files of `tls.files`",
                    files.certificate.display(),
                    when(validity.expires_at)
                );
                context.terminal.warn(&warning);
                config.warnings.push(warning);
            }
            Outcome::Works
        }
        Err(error @ FilesError::File { .. }) if other_user(context).is_some() => {
            Outcome::Unknown { cause: format!("this user cannot read them: {error}") }
        }
        Err(error) => fails(error.to_string(), error.hint().to_owned()),
    }
}
