//! Misbehaviour of a provider: changes to its responses and ID tokens.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::{Endpoint, Key};
use crate::https::Answer;

type EditAnswer = Arc<dyn Fn(&mut Answer) + Send + Sync>;
type EditIDToken = Arc<dyn Fn(&mut IDTokenDraft) + Send + Sync>;
type EditSigned = Arc<dyn Fn(&mut Signed) + Send + Sync>;

/// Changes to an honest provider. None by default.
#[derive(Clone, Default)]
pub struct Misbehaviour {
    answers: HashMap<Endpoint, EditAnswer>,
    out_of_order: HashMap<Endpoint, u16>,
    id_token: Option<EditIDToken>,
    signed: Option<EditSigned>,
}

/// An ID token before signing.
#[derive(Debug, Clone)]
pub struct IDTokenDraft {
    pub header: Value,
    pub claims: Value,
    pub key: Key,
}

/// A signed ID token: three parts, not yet encoded.
#[derive(Debug, Clone)]
pub struct Signed {
    pub header: Vec<u8>,
    pub claims: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Misbehaviour {
    /// Changes each honest response of an endpoint.
    #[must_use]
    pub fn answer(mut self, endpoint: Endpoint, edit: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        self.answers.insert(endpoint, Arc::new(edit));
        self
    }

    /// Makes an endpoint respond with a status, without processing the request.
    #[must_use]
    pub fn out_of_order(mut self, endpoint: Endpoint, status: u16) -> Self {
        self.out_of_order.insert(endpoint, status);
        self
    }

    /// Changes the JSON body of each response of an endpoint.
    #[must_use]
    pub fn json(self, endpoint: Endpoint, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.answer(endpoint, move |answer| {
            let mut body: Value =
                serde_json::from_slice(&answer.body).expect("an endpoint that answers JSON");
            edit(&mut body);
            answer.body = body.to_string().into_bytes();
        })
    }

    /// Omits `iss` from authorization responses and does not advertise it, like providers without RFC 9207.
    #[must_use]
    pub fn without_response_issuer(self) -> Self {
        let unnamed = self.json(Endpoint::Discovery, |metadata| {
            metadata["authorization_response_iss_parameter_supported"] = json!(false);
        });
        unnamed.answer(Endpoint::Authorization, |answer| {
            let location = answer.headers.iter().find(|(name, _)| name == "location");
            let Some(mut location) = location.and_then(|(_, to)| Url::parse(to).ok()) else { return };
            let kept: Vec<(String, String)> =
                location.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
            location.query_pairs_mut().clear().extend_pairs(kept);
            answer.set_header("location", location.as_str());
        })
    }

    /// Changes header, claims or key of each ID token before signing.
    #[must_use]
    pub fn id_token(mut self, edit: impl Fn(&mut IDTokenDraft) + Send + Sync + 'static) -> Self {
        self.id_token = Some(Arc::new(edit));
        self
    }

    /// Changes one claim of each ID token; `Null` removes it.
    #[must_use]
    pub fn claim(self, name: &'static str, value: Value) -> Self {
        self.id_token(move |draft| draft.set_claim(name, value.clone()))
    }

    /// Changes the bytes of each ID token after signing.
    #[must_use]
    pub fn signed(mut self, edit: impl Fn(&mut Signed) + Send + Sync + 'static) -> Self {
        self.signed = Some(Arc::new(edit));
        self
    }

    pub(super) fn is_out_of_order(&self, endpoint: Endpoint) -> Option<u16> {
        self.out_of_order.get(&endpoint).copied()
    }

    pub(super) fn edit_answer(&self, endpoint: Endpoint, answer: &mut Answer) {
        if let Some(edit) = self.answers.get(&endpoint) {
            edit(answer);
        }
    }

    pub(super) fn edit_id_token(&self, draft: &mut IDTokenDraft) {
        if let Some(edit) = &self.id_token {
            edit(draft);
        }
    }

    pub(super) fn edit_signed(&self, signed: &mut Signed) {
        if let Some(edit) = &self.signed {
            edit(signed);
        }
    }
}

impl IDTokenDraft {
    /// Replaces a claim; `Null` removes it.
    pub fn set_claim(&mut self, name: &str, value: Value) {
        let claims = self.claims.as_object_mut().expect("claims are an object");
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.to_owned(), value);
        }
    }
}
