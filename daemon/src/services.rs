//! Services: who may ask whose token they were shown, which tokens are for them, and whom they admit.

mod allowed;
mod credentials;
mod kubernetes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ipnet::IpNet;

use crate::addresses::Networks;
use crate::secrets::{Backends, ReadError, Reference};
use crate::sessions::{Accepted, Caller, NewToken, NotAuthenticated, NotOpened, Sessions, Use, Visitor};
use credentials::Credentials;

pub use allowed::AllowedUsers;
pub use credentials::check as check_credential;
pub use kubernetes::{Cluster, ClusterUser, NotAClusterUser};

/// A service of the configuration.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    pub name: String,
    /// What its tokens are for; no other service has it, as an audience or as a name.
    pub audience: String,
    pub kind: ServiceKind,
    /// By any of these the service proves itself, where it asks by itself. Several, so that one can be replaced.
    pub credentials: Vec<Reference>,
    pub allow: AllowedUsers,
    /// Whether the session's own token is good there, too: the service could use it anywhere else.
    pub accept_session_token: bool,
    /// Where it asks from: these have as many connections as they like.
    pub addresses: Vec<IpNet>,
}

/// How a service asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceKind {
    /// By introspection, or through a reverse proxy.
    Http,
    /// An API server, with its webhook for tokens.
    Kubernetes(Cluster),
}

/// The services, and the sessions whose tokens they are shown.
pub struct Services {
    sessions: Arc<Sessions>,
    backends: Backends,
    all: Vec<Service>,
}

/// One of the services.
pub struct Service {
    settings: ServiceSettings,
    credentials: Credentials,
}

/// Why somebody is not let in at a service.
#[derive(Debug, thiserror::Error)]
pub enum NotLetIn {
    #[error(transparent)]
    Token(#[from] NotAuthenticated),
    #[error("the service's rules do not admit the user")]
    NotAllowed,
}

/// Why a token for a service was not opened.
#[derive(Debug, thiserror::Error)]
pub enum NotIssued {
    #[error("no service has this audience, or this name")]
    NoService,
    #[error("the service's rules do not admit the user")]
    NotAllowed,
    #[error(transparent)]
    NotAClusterUser(#[from] NotAClusterUser),
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
}

impl Services {
    pub fn new(sessions: Arc<Sessions>, services: Vec<ServiceSettings>, backends: Backends) -> Self {
        let services = services.into_iter().map(|settings| {
            let credentials = Credentials::new(settings.credentials.clone());
            Service { settings, credentials }
        });
        Self { all: services.collect(), sessions, backends }
    }

    pub fn find(&self, name: &str) -> Option<&Service> {
        self.all.iter().find(|service| service.settings.name == name)
    }

    /// The names of those that are API servers.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let clusters = self.all.iter().filter(|service| service.cluster().is_some());
        clusters.map(|service| service.settings.name.as_str())
    }

    /// Whether `secret` is one of the service's credentials. An error says nothing of it.
    pub async fn proves(&self, service: &Service, secret: &[u8]) -> Result<bool, ReadError> {
        service.credentials.include(secret, &self.backends).await
    }

    /// The same by what was read a moment ago, without a wait. `false` says nothing of the secret.
    pub fn proves_at_once(&self, service: &Service, secret: &[u8]) -> bool {
        service.credentials.are_known_to_include(secret)
    }

    /// Opens a token for the service with this audience, or of this name, where it would let the caller in.
    pub async fn issue(&self, caller: &Caller, wanted: &str) -> Result<(NewToken, &Service), NotIssued> {
        let is_meant =
            |service: &&Service| service.settings.audience == wanted || service.settings.name == wanted;
        let service = self.all.iter().find(is_meant).ok_or(NotIssued::NoService)?;
        if !service.settings.allow.admit(caller) {
            return Err(NotIssued::NotAllowed);
        }
        // The API server could not tell them why it refuses them.
        if let Some(cluster) = service.cluster() {
            cluster.user(caller)?;
        }
        let token = self.sessions.open_audience_token(caller, &service.settings.audience).await?;
        Ok((token, service))
    }

    /// Whose token this is, where it is good at the service, and the service admits that user. It counts as use.
    pub async fn let_in(&self, service: &Service, token: &str) -> Result<Visitor, NotLetIn> {
        let visitor = self.sessions.authenticate_for(token, service.accepted(), Use::Counts).await?;
        if service.settings.allow.admit(visitor.caller()) { Ok(visitor) } else { Err(NotLetIn::NotAllowed) }
    }

    /// The same where everything is known from a moment ago: without a wait. `None` says nothing of the token.
    pub fn let_in_at_once(&self, service: &Service, token: &str) -> Option<Visitor> {
        let visitor = self.sessions.authenticate_for_at_once(token, service.accepted())?;
        service.settings.allow.admit(visitor.caller()).then_some(visitor)
    }
}

impl Service {
    fn accepted(&self) -> Accepted<'_> {
        Accepted { audience: &self.settings.audience, session_token: self.settings.accept_session_token }
    }

    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Where it is an API server of Kubernetes.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.settings.kind {
            ServiceKind::Kubernetes(cluster) => Some(cluster),
            ServiceKind::Http => None,
        }
    }
}

/// Where services ask from.
pub fn networks(services: &[ServiceSettings]) -> Networks {
    Networks::new(services.iter().flat_map(|service| service.addresses.iter().copied()).collect())
}
