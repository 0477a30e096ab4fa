//! Root keys at real servers, and their permissions.

use std::path::Path;

use serde_json::json;

use crate::moto::{AccessKey, Moto};
use crate::openbao::OpenBao;

/// The permissions that a daemon needs for the key of [`transit_key`].
pub const TRANSIT_POLICY: &str = r#"path "transit/encrypt/infrad" { capabilities = ["update"] }
path "transit/decrypt/infrad" { capabilities = ["update"] }"#;

/// The configuration entry of a native root key.
pub fn native(path: &Path) -> String {
    format!("{{kind: native, config: {{path: {}}}}}", path.display())
}

/// Creates the transit key `infrad` in OpenBao.
pub fn transit_key(bao: &OpenBao, derived: bool) {
    bao.call("sys/mounts/transit", Some(json!({"type": "transit"})));
    bao.call("transit/keys/infrad", Some(json!({"type": "aes256-gcm96", "derived": derived})));
}

/// Creates the KMS key `alias/infrad` in moto, which then checks signatures and policies. Returns a user who may use
/// it.
pub fn kms_key(moto: &Moto) -> AccessKey {
    let key = moto.call("TrentService.CreateKey", &json!({}));
    let id = key["KeyMetadata"]["KeyId"].as_str().expect("a key");
    moto.call("TrentService.CreateAlias", &json!({"AliasName": "alias/infrad", "TargetKeyId": id}));
    let statement =
        json!({"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*"});
    let user = moto.user("infrad", &statement);
    moto.check_signatures();
    user
}
