//! How a command fails. Both programs share the type.

use std::io::ErrorKind;

use crate::config::ConfigError;

pub use infra_shared::failure::Failure;

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let ConfigError::Unreadable { path, source } = &error else { return Self::usage(error.to_string()) };
        let hint = "name another file with `--config FILE`";
        let may_try = cfg!(feature = "dev") && source.kind() == ErrorKind::NotFound;
        Self::usage(format!("cannot read {}", path.display())).because(source).hint(if may_try {
            format!("{hint}; to try Infra without one, run `infrad dev`, which prints what you need in its own terminal")
        } else {
            hint.to_owned()
        })
    }
}
