//! How a command fails. Both programs share the type.

pub use infra_shared::failure::Exit;

pub type Failure = infra_shared::failure::Failure<infra_shared::failure::Infra>;
