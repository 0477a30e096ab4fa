//! `awsssm:/NAME`: a parameter in AWS Systems Manager Parameter Store. A SecureString is decrypted.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::AWSAccess;
use crate::outbound::AWSOperation;
use crate::secrets::{ReadError, SecretBackend, Stored};

const GET: AWSOperation = AWSOperation { service: "ssm", target: "AmazonSSM.GetParameter" };

pub(in crate::secrets) struct ParameterStore {
    pub(in crate::secrets) access: AWSAccess,
}

#[async_trait]
impl SecretBackend for ParameterStore {
    fn check_name(&self, name: &str) -> Result<(), String> {
        // https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html; `:` allows a
        // version or label after the name, and ARNs.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-:".contains(&byte);
        if (1..=2048).contains(&name.len()) && name.bytes().all(plain) {
            Ok(())
        } else {
            Err("for this backend, write the name of a parameter, such as `/infra/okta`".to_owned())
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        let response = self.access.call(GET, &json!({ "Name": name, "WithDecryption": true })).await?;
        let value = response.pointer("/Parameter/Value").and_then(Value::as_str);
        let value =
            value.ok_or_else(|| ReadError::Unexpected(format!("the parameter {name} has no value")))?;
        Ok(Stored::new(value.as_bytes().to_vec()))
    }
}
