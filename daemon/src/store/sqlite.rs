//! The SQLCipher engine. Only this module knows the database library.

mod error;

pub(super) use error::FileError;
