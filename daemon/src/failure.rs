//! How a command fails. Both programs share the type.

use crate::config::ConfigError;

pub type Failure = infra_shared::failure::Failure<infra_shared::failure::Infrad>;

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}
