//! How a command fails. Both programs share the type.

pub use infra_shared::failure::{Exit, Failure};
