//! `infra token`: prints only the session token or an audience token to standard output, for scripts.

use infra_shared::origin::Origin;
use jiff::SignedDuration;
use serde::Serialize;

use super::audience::{self, TokenRequest, ValidToken};
use super::{Context, expiry_notice, session_token};
use crate::arguments::{Token, TokenFormat};
use crate::failure::{Exit, Failure};

/// The headers of a request with an audience token (RFC 6750 §2.1). Never of one with the session token, because the
/// programs that use this format send the headers to the address in their own configuration.
#[derive(Serialize)]
struct Headers {
    #[serde(rename = "Authorization")]
    authorization: String,
}

pub(super) fn run(context: &Context, arguments: &Token) -> Result<Exit, Failure> {
    let min_left = SignedDuration::try_from(arguments.min_left.unwrap_or_default())
        .map_err(|_| Failure::new(Exit::Usage, "--min-left is too long"))?;
    if let Some(audience) = &arguments.audience {
        let request = TokenRequest { server: arguments.server.as_ref(), audience, min_left };
        let ValidToken { token, origin, state, .. } = audience::obtain(context, &request)?;
        match arguments.format {
            TokenFormat::Text => context.terminal.data(&format!("{}\n", token.expose()))?,
            TokenFormat::Headers => {
                let authorization = format!("Bearer {}", token.expose());
                context.terminal.json(&Headers { authorization })?;
            }
        }
        expiry_notice::show(context, &state, &origin);
        return Ok(Exit::Done);
    }
    let (origin, state, token) = session_token::obtain(context, arguments.server.as_ref(), min_left)
        .map_err(|failure| suggest_audience(context, arguments.server.as_ref(), failure))?;
    context.terminal.data(&format!("{}\n", token.expose()))?;
    expiry_notice::show(context, &state, &origin);
    Ok(Exit::Done)
}

/// An unknown server with a name of one word may be meant as a service.
fn suggest_audience(context: &Context, server: Option<&Origin>, failure: Failure) -> Failure {
    let is_known =
        |server: &Origin| context.home.read().is_ok_and(|state| state.config.servers.contains_key(server));
    let is_word = |server: &&Origin| server.port() == 443 && !server.host().contains(['.', ':', '[']);
    let is_missing = matches!(failure.exit(), Exit::Usage | Exit::LoginNeeded);
    match server.filter(is_word).filter(|server| is_missing && !is_known(server)) {
        Some(server) => {
            failure.hint_first(&format!("`infra token --audience {}` if that is a service", server.host()))
        }
        None => failure,
    }
}
