//! The stored form of a refresh credential, before it is encrypted.

use infra_shared::api::expose;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::{RefreshCredential, Sources};

/// The members of a [`RefreshCredential`], which nothing else may serialize.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RefreshCredential", deny_unknown_fields)]
struct Contents {
    #[serde(serialize_with = "expose")]
    refresh_token: SecretString,
    #[serde(serialize_with = "expose")]
    nonce: SecretString,
    auth_time: Option<i64>,
    subject: String,
    #[serde(default)]
    sources: Sources,
}

pub(super) fn serialize(credential: &RefreshCredential) -> Zeroizing<Vec<u8>> {
    let mut contents = Zeroizing::new(Vec::new());
    let mut serializer = serde_json::Serializer::new(&mut *contents);
    Contents::serialize(credential, &mut serializer).expect("a credential is plain JSON");
    contents
}

pub(super) fn parse(contents: &[u8]) -> Option<RefreshCredential> {
    let mut contents = serde_json::Deserializer::from_slice(contents);
    let credential = Contents::deserialize(&mut contents).ok()?;
    contents.end().ok().map(|()| credential)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::identity::Source;

    #[test]
    fn credential_survives_serialization() {
        let credential = RefreshCredential {
            refresh_token: "a\"b\\c\u{e9}".into(),
            nonce: "n".into(),
            auth_time: Some(7),
            subject: "00u1".to_owned(),
            sources: Sources { email: None, groups: Some(Source::UserInfo) },
        };
        let read = parse(&serialize(&credential)).expect("a credential");
        assert_eq!(read.refresh_token.expose_secret(), credential.refresh_token.expose_secret());
        assert_eq!((read.auth_time, read.subject), (Some(7), "00u1".to_owned()));
        assert_eq!(read.sources, credential.sources);
        assert!(parse(b"{}").is_none() && parse(b"\xff").is_none());
    }
}
