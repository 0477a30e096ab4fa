//! Parses secret references. Errors never contain the text: it may be a secret without `plaintext:`.

use crate::secrets::{BackendSettings, Backends, Reference, ReferenceError};

use super::backends::{BUILT_IN, Declared};
use super::error::{Fault, FaultAt};
use super::section::{Field, words};

pub(super) struct BackendNames {
    known: Vec<String>,
    plaintext: Vec<String>,
}

/// Parses the references of a configuration and collects warnings.
pub(super) struct References {
    names: BackendNames,
    pub(super) backends: Backends,
    pub(super) warnings: Vec<String>,
}

impl References {
    pub(super) fn new(names: BackendNames, backends: Backends) -> Self {
        Self { names, backends, warnings: Vec::new() }
    }

    /// Parses the reference to the secret `whose`. If the file contains the secret, warns and suggests `example`.
    pub(super) fn read(
        &mut self,
        field: &Field<'_>,
        whose: &str,
        example: &str,
    ) -> Result<Reference, FaultAt> {
        self.names.check(field)?;
        let reference = self.names.parse(field, &self.backends)?;
        if self.names.is_plaintext(&reference) {
            self.warnings.push(format!(
                "the configuration contains {whose}; use a file or the environment instead: `{example}`"
            ));
        }
        Ok(reference)
    }
}

impl BackendNames {
    pub(super) fn new(declared: &[Declared]) -> Self {
        let is_plaintext = |(_, settings): &&Declared| matches!(settings, BackendSettings::Plaintext { .. });
        let name = |(name, _): &Declared| name.clone();
        Self {
            known: BUILT_IN.iter().map(|name| (*name).to_owned()).chain(declared.iter().map(name)).collect(),
            plaintext: declared
                .iter()
                .filter(is_plaintext)
                .map(name)
                .chain(["plaintext".to_owned()])
                .collect(),
        }
    }

    /// Whether the configuration contains the secret.
    pub(super) fn is_plaintext(&self, reference: &Reference) -> bool {
        self.plaintext.iter().any(|name| name == reference.backend())
    }

    /// Checks that the text begins with the name of a backend.
    pub(super) fn check(&self, field: &Field<'_>) -> Result<(), FaultAt> {
        match field.text(&self.expected())?.split_once(':') {
            Some((backend, _)) if self.known.iter().any(|name| name == backend) => Ok(()),
            // Kinds that need a declaration. A secret never begins like this.
            Some((backend @ ("vault" | "awssecretsmanager" | "awssm" | "awsssm"), _)) => {
                Err(field.fault(Fault::Undeclared { backend: backend.to_owned() }))
            }
            _ => Err(field.wrong(self.expected())),
        }
    }

    pub(super) fn parse(&self, field: &Field<'_>, backends: &Backends) -> Result<Reference, FaultAt> {
        backends.parse(field.text(&self.expected())?).map_err(|error| match error {
            // The text before the colon may be part of a secret.
            ReferenceError::NoBackend | ReferenceError::UnknownBackend => field.wrong(self.expected()),
            error @ ReferenceError::Name(_) => {
                field.fault(Fault::Reference { key: field.path().to_owned(), error })
            }
        })
    }

    fn expected(&self) -> String {
        format!(
            "`BACKEND:NAME` with one of the backends {}, such as `env:OKTA_CLIENT_SECRET`; write `plaintext:…` to use the \
             text as the secret",
            words(self.known.iter().map(String::as_str))
        )
    }
}
