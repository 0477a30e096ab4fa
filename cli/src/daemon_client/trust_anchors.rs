//! The identities by which a server may prove itself, each with its own client. Nothing is sent to a server that
//! proves none.

use std::cell::{Cell, OnceCell};

use infra_shared::http::{
    NoClient, Trust, Untrusted, Way, blocking_client_with, nothing_was_sent, untrusted,
};
use reqwest::blocking::{Client, RequestBuilder, Response};

use super::{DaemonError, LIMITS, failure};
use crate::settings;

/// The first is the stored identity. The others are announced by the server under the first, for use after it is
/// replaced.
#[derive(Debug)]
pub(super) struct TrustAnchors {
    all: Vec<TrustAnchor>,
    route: Way,
    current: Cell<usize>,
    /// Once the server has responded, only the identity that it proved is used.
    has_answered: Cell<bool>,
}

/// How often a request is tried with one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempts {
    Once,
    /// A second time if nothing was sent the first time.
    UpToTwo,
}

#[derive(Debug)]
struct TrustAnchor {
    trust: Trust,
    /// Created on demand, because reading the operating system's authorities takes time.
    client: OnceCell<Client>,
}

impl TrustAnchors {
    pub(super) fn new(trust_anchors: Vec<Trust>, route: Way) -> Result<Self, NoClient> {
        let all: Vec<TrustAnchor> =
            trust_anchors.into_iter().map(|trust| TrustAnchor { trust, client: OnceCell::new() }).collect();
        if let Some(first) = all.first() {
            first.client(route)?;
        }
        Ok(Self { all, route, current: Cell::new(0), has_answered: Cell::new(false) })
    }

    pub(super) fn current(&self) -> usize {
        self.current.get()
    }

    /// Sends to a server that proves the first identity, or the next one if a different authority answered. The error
    /// is that of the first.
    pub(super) fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        attempts: Attempts,
    ) -> Result<Response, DaemonError> {
        let mut first_error = None;
        for (number, anchor) in self.all.iter().enumerate().skip(self.current.get()) {
            let sent = anchor
                .client(self.route)
                .map_err(DaemonError::from)
                .and_then(|client| send(client, &request, attempts));
            let error = match sent {
                Ok(response) => {
                    self.current.set(number);
                    self.has_answered.set(true);
                    return Ok(response);
                }
                Err(error) => error,
            };
            let may_try_next = is_other_authority(&error) && !self.has_answered.get();
            first_error.get_or_insert(error);
            if !may_try_next {
                break;
            }
        }
        Err(first_error.unwrap_or(DaemonError::NotADaemon))
    }
}

impl TrustAnchor {
    fn client(&self, route: Way) -> Result<&Client, NoClient> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = blocking_client_with(&self.trust, LIMITS, false, (route, settings::key_exchange()))?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn send(
    client: &Client,
    request: &impl Fn(&Client) -> RequestBuilder,
    attempts: Attempts,
) -> Result<Response, DaemonError> {
    let may_be_tried_again = |error: &reqwest::Error| {
        attempts == Attempts::UpToTwo
            && nothing_was_sent(error)
            && untrusted(error).is_none()
            && !error.is_timeout()
    };
    let sent = match request(client).send() {
        Err(error) if may_be_tried_again(&error) => request(client).send(),
        sent => sent,
    };
    sent.map_err(|error| failure(&error))
}

/// Whether a different authority than the expected one signed the server's certificate. An unreachable server, a wrong
/// name and an expired certificate do not count, because no other identity would help.
fn is_other_authority(error: &DaemonError) -> bool {
    matches!(
        error,
        DaemonError::Untrusted(
            Untrusted::OtherPin { .. } | Untrusted::NoAuthoritySent | Untrusted::UnknownAuthority
        )
    )
}
