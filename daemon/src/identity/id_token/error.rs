//! The rules that an ID token can break.

use super::MAX_BYTES;

/// The rule that a token breaks. `Display` is its name in logs and test vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::identity) enum IDTokenError {
    #[error("too_large: {bytes} bytes, at most {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("malformed")]
    Malformed,
    #[error("encrypted")]
    Encrypted,
    #[error("wrong_type")]
    OtherType,
    #[error("critical_extension")]
    CriticalExtension,
    #[error("algorithm_not_allowed")]
    AlgorithmNotAllowed,
    #[error("issuer_mismatch")]
    IssuerMismatch,
    #[error("audience_mismatch")]
    AudienceMismatch,
    #[error("authorized_party_mismatch")]
    AuthorizedPartyMismatch,
    #[error("unknown_key")]
    UnknownKey,
    #[error("ambiguous_key")]
    AmbiguousKey,
    #[error("key_type_mismatch")]
    KeyDoesNotFit,
    #[error("key_too_short")]
    KeyTooShort,
    #[error("invalid_signature")]
    SignatureInvalid,
    #[error("expired")]
    Expired,
    #[error("issued_in_the_future")]
    IssuedInTheFuture,
    #[error("issued_too_long_ago")]
    IssuedTooLongAgo,
    #[error("expires_too_late")]
    ExpiresTooLate,
    #[error("not_yet_valid")]
    NotYetValid,
    #[error("nonce_mismatch")]
    NonceMismatch,
    #[error("access_token_hash_mismatch")]
    AccessTokenHashMismatch,
    #[error("malformed_subject")]
    SubjectMalformed,
    #[error("subject_mismatch")]
    SubjectMismatch,
    #[error("auth_time_mismatch")]
    AuthTimeMismatch,
}

impl IDTokenError {
    /// Whether the token could be valid under other keys of the provider.
    pub(in crate::identity) fn depends_on_keys(self) -> bool {
        matches!(
            self,
            Self::UnknownKey
                | Self::AmbiguousKey
                | Self::KeyDoesNotFit
                | Self::KeyTooShort
                | Self::SignatureInvalid
        )
    }

    /// Whether the token could be valid under another clock.
    pub(in crate::identity) fn depends_on_clock(self) -> bool {
        matches!(self, Self::Expired | Self::IssuedInTheFuture | Self::IssuedTooLongAgo | Self::NotYetValid)
    }

    /// Whether the token is for another issuer, client or sign-in. Only a signature proves that the provider issued
    /// it: [`super::check_is_signed`].
    pub(in crate::identity) fn belongs_to_other(self) -> bool {
        matches!(
            self,
            Self::IssuerMismatch
                | Self::AudienceMismatch
                | Self::AuthorizedPartyMismatch
                | Self::NonceMismatch
                | Self::SubjectMismatch
                | Self::AuthTimeMismatch
        )
    }
}
