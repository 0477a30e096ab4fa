//! `awssm:NAME#FIELD`: a secret in AWS Secrets Manager, or one field of a secret that is a JSON object.

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::AWSAccess;
use crate::outbound::AWSOperation;
use crate::secrets::{ReadError, SecretBackend, Stored, split_field, text_field};

const GET: AWSOperation = AWSOperation { service: "secretsmanager", target: "secretsmanager.GetSecretValue" };

pub(in crate::secrets) struct SecretsManager {
    pub(in crate::secrets) access: AWSAccess,
    /// The version to read, by default `AWSCURRENT`.
    pub(in crate::secrets) version_stage: Option<String>,
}

fn value(response: &Value, id: &str) -> Result<Stored, ReadError> {
    if let Some(text) = response.get("SecretString").and_then(Value::as_str) {
        return Ok(Stored::new(text.as_bytes().to_vec()));
    }
    let binary = response.get("SecretBinary").and_then(Value::as_str);
    let bytes = binary.and_then(|binary| BASE64_STANDARD.decode(binary).ok()).map(Stored::new);
    bytes.ok_or_else(|| ReadError::Unexpected(format!("the secret {id} has no value")))
}

fn find_field(secret: &[u8], id: &str, field: &str) -> Result<Stored, ReadError> {
    let object: Value = serde_json::from_slice(secret)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| ReadError::Malformed(format!("the secret {id} is not a JSON object with fields")))?;
    text_field(&object, field, &format!("the secret {id}"))
}

#[async_trait]
impl SecretBackend for SecretsManager {
    fn check_name(&self, name: &str) -> Result<(), String> {
        let (id, field) = split_field(name);
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html; `:` allows ARNs.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&byte);
        let good = (1..=2048).contains(&id.len())
            && id.bytes().all(plain)
            && field.is_none_or(|field| !field.is_empty());
        if good {
            Ok(())
        } else {
            Err("for this backend, write the name of a secret, and a field if it is a JSON object, such as \
                 `infra-okta#clientSecret`"
                .to_owned())
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        let (id, field) = split_field(name);
        let mut body = json!({ "SecretId": id });
        if let (Some(stage), Some(body)) = (&self.version_stage, body.as_object_mut()) {
            body.insert("VersionStage".to_owned(), json!(stage));
        }
        let response = self.access.call(GET, &body).await?;
        let secret = value(&response, id)?;
        match field {
            Some(field) => find_field(&secret, id, field),
            None => Ok(secret),
        }
    }
}
