//! `infra helper bazel`: a credential helper for Bazel and other build tools.
//!
//! github.com/EngFlow/credential-helper-spec, `spec.md` and `schemas/`: the tool runs the helper with the command `get`, and
//! writes `{"uri": "…"}` to its standard input; other members are ignored. The helper answers on standard output with
//! `headers`, an object from names to lists of values, and with `expires` (ISO 8601), before which the tool asks for this
//! URI no more. If it does not know the host or the scheme, it fails: it exits with another code than 0 and explains on
//! standard error. An answer without headers would mean that none are needed.
//!
//! Bazel names remote caches `grpcs://…` or by the `https://…` URL of the gRPC method, and downloads by their URL.

use serde::{Deserialize, Serialize};

use super::request::{self, Asked, malformed};
use crate::arguments::BazelHelper;
use crate::commands::Context;
use crate::failure::{Exit, Failure};

/// Schemes with TLS, both with port 443 by default.
const SCHEMES: [&str; 2] = ["https", "grpcs"];

#[derive(Deserialize)]
struct Request {
    uri: String,
}

#[derive(Serialize)]
struct Answer {
    headers: Headers,
    expires: String,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "Authorization")]
    authorization: [String; 1],
}

pub(super) fn run(context: &Context, arguments: &BazelHelper) -> Result<Exit, Failure> {
    let request: Request = serde_json::from_slice(&request::read()?)
        .map_err(|_| malformed("it is not a JSON object with one `uri`"))?;
    let Asked { scheme, authority } = request::split(&request.uri)?;
    let Some(host) = request::bound(&arguments.binding.hosts, authority)? else {
        let shown = request::shown(authority);
        return Err(Failure::failed(format!("the host `{shown}` is none of --host"))
            .hint("`--credential_helper=HOST=PROGRAM`, which names the helper for one host only"));
    };
    let is_encrypted = |scheme: &str| SCHEMES.iter().any(|encrypted| scheme.eq_ignore_ascii_case(encrypted));
    if !scheme.is_some_and(is_encrypted) {
        return Err(request::unencrypted(host));
    }
    let valid = super::token(context, &arguments.binding)?;
    context.terminal.json(&Answer {
        headers: Headers { authorization: [format!("Bearer {}", valid.token.expose())] },
        expires: valid.reported_expiry(context.now()).to_string(),
    })?;
    Ok(Exit::Done)
}
