//! How a command fails. Both programs share the type.

use crate::config::ConfigError;

pub use infra_shared::failure::Failure;

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}
