//! The development provider's authorization codes, access tokens and refresh tokens. All are random and expire.

use std::collections::HashMap;

use infra_shared::random;
use jiff::{SignedDuration, Timestamp};

const CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);
const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
pub(super) const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_hours(1);
const REFRESH_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// More than any development use.
const MAX_EACH: usize = 10_000;
const CHARACTERS: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    Alice,
    Bob,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorizationRequest {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) code_challenge: String,
    pub(super) scope: String,
}

/// A user's consent to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) person: Person,
    pub(super) signed_in_at: Timestamp,
    pub(super) request: AuthorizationRequest,
}

#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Requests whose sign-in page is open.
    pub(super) requests: Kept<AuthorizationRequest>,
    pub(super) codes: Kept<Grant>,
    pub(super) access_tokens: Kept<Grant>,
    pub(super) refresh_tokens: Kept<Grant>,
}

/// Values stored under random names until they expire.
#[derive(Debug)]
pub(super) struct Kept<T>(HashMap<String, (T, Timestamp)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Kept<T> {
    fn keep(&mut self, thing: T, until: Timestamp, now: Timestamp) -> String {
        self.0.retain(|_, (_, until)| now < *until);
        if self.0.len() >= MAX_EACH {
            self.0.clear();
        }
        let name = random::alphanumeric(CHARACTERS);
        self.0.insert(name.clone(), (thing, until));
        name
    }

    pub(super) fn look(&self, name: &str, now: Timestamp) -> Option<T> {
        self.0.get(name).filter(|(_, until)| now < *until).map(|(thing, _)| thing.clone())
    }

    /// Removes and returns the value, so that it is used once.
    pub(super) fn take(&mut self, name: &str, now: Timestamp) -> Option<T> {
        self.0.remove(name).filter(|(_, until)| now < *until).map(|(thing, _)| thing)
    }
}

impl Grants {
    pub(super) fn keep_request(&mut self, request: AuthorizationRequest, now: Timestamp) -> String {
        self.requests.keep(request, now + REQUEST_LIFETIME, now)
    }

    pub(super) fn keep_code(&mut self, grant: Grant, now: Timestamp) -> String {
        self.codes.keep(grant, now + CODE_LIFETIME, now)
    }

    pub(super) fn keep_access_token(&mut self, grant: Grant, now: Timestamp) -> String {
        self.access_tokens.keep(grant, now + ACCESS_LIFETIME, now)
    }

    pub(super) fn keep_refresh_token(&mut self, grant: Grant, now: Timestamp) -> String {
        self.refresh_tokens.keep(grant, now + REFRESH_LIFETIME, now)
    }
}

impl Person {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "alice" => Some(Self::Alice),
            "bob" => Some(Self::Bob),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    pub(super) fn display_name(self) -> &'static str {
        match self {
            Self::Alice => "Alice",
            Self::Bob => "Bob",
        }
    }

    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Alice => "engineering",
            Self::Bob => "support",
        }
    }
}
