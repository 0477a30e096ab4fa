//! `infra kubernetes token`: an exec credential plugin for `kubectl` and other client-go programs.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::arguments::KubernetesToken;
use crate::commands::Context;
use crate::commands::audience::{self, TokenRequest};
use crate::failure::{Exit, Failure};
use crate::kubeconfig::EXEC_API_VERSION;
use crate::settings;

const KIND: &str = "ExecCredential";

/// client-go's input to the plugin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecInfo {
    api_version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    token: &'a str,
    expiration_timestamp: String,
}

pub(super) fn run(context: &Context, arguments: &KubernetesToken) -> Result<Exit, Failure> {
    if let Some(asked) = settings::exec_info() {
        check(&asked.to_string_lossy())?;
    }
    let request = TokenRequest { server: None, audience: &arguments.cluster, min_left: SignedDuration::ZERO };
    let valid = audience::obtain(context, &request)?;
    let expiration = valid.reported_expiry(context.now());
    context.terminal.json(&ExecCredential {
        api_version: EXEC_API_VERSION,
        kind: KIND,
        status: Status { token: valid.token.expose(), expiration_timestamp: expiration.to_string() },
    })?;
    Ok(Exit::Done)
}

fn check(asked: &str) -> Result<(), Failure> {
    let failed = |what: String| {
        Failure::new(Exit::Failed, what)
            .hint(format!("set `apiVersion: {EXEC_API_VERSION}` in the `exec` section of the kubeconfig's user; `infra kubernetes configure` does that"))
    };
    let Ok(ExecInfo { api_version }) = serde_json::from_str(asked) else {
        return Err(failed("KUBERNETES_EXEC_INFO is not in the format of client-go".to_owned()));
    };
    if api_version == EXEC_API_VERSION {
        return Ok(());
    }
    // Another program may have set the variable, so a value of unexpected form is not shown.
    let plain = |character: char| character.is_ascii_alphanumeric() || "./".contains(character);
    let shown = if api_version.len() <= 64 && api_version.chars().all(plain) {
        &api_version
    } else {
        "another version"
    };
    Err(failed(format!("the kubeconfig requests {shown}, but `infra` supports only {EXEC_API_VERSION}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_exec_api_version_is_rejected_by_name() {
        assert!(
            check(r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{}}"#)
                .is_ok()
        );
        let text = |asked: &str| check(asked).expect_err("another version").to_string();
        assert!(
            text(r#"{"apiVersion":"client.authentication.k8s.io/v1beta1"}"#)
                .contains("requests client.authentication.k8s.io/v1beta1,")
        );
        assert!(!text("{\"apiVersion\":\"\u{1b}[2J\"}").contains('\u{1b}'));
        for malformed in ["", "{}", "null", "[]", r#"{"apiVersion":1}"#] {
            assert!(text(malformed).contains("KUBERNETES_EXEC_INFO"), "{malformed}");
        }
    }
}
