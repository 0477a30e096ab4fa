//! Timestamps in the database: milliseconds since 1970, so that they compare as numbers.

use jiff::Timestamp;

use super::StoreError;

pub(super) fn to_database(moment: Timestamp) -> i64 {
    moment.as_millisecond()
}

pub(super) fn from_database(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| StoreError::UnexpectedRow("a time out of range"))
}
