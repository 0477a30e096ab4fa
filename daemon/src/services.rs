//! Services: which may validate users' tokens, which tokens are for them, and which users they admit.

mod allowed;
mod credentials;
mod delegation;
mod kubernetes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ipnet::IpNet;

use crate::addresses::Networks;
use crate::identity::{IdentifiedWorkload, MatchingRule};
use crate::secrets::{Backends, ReadError, Reference};
use crate::sessions::{
    AcceptedTokens, AudienceTokenError, AuthorizedCaller, Caller, MintedAudienceToken, NotAuthenticated,
    NotDelegated, SessionUse, Sessions, TokenFormat,
};
use crate::store::Presented;
use credentials::Credentials;

pub use allowed::AllowedUsers;
pub use credentials::check as check_credential;
pub use delegation::DelegateError;
pub use kubernetes::{Cluster, ClusterUser, NotAClusterUser};

#[derive(Debug, Clone)]
pub struct ServiceSettings {
    pub name: String,
    /// Audience of its tokens. Unique among the audiences and names of all services.
    pub audience: String,
    pub kind: ServiceKind,
    /// Credentials with which the service authenticates at the daemon. Several, so that one can be replaced.
    pub credentials: Vec<Reference>,
    /// People. Workloads are in `workloads` only.
    pub allow: AllowedUsers,
    /// Names of the rules in `workloads` that list the service.
    pub workloads: Vec<String>,
    /// Whether the service accepts session tokens. It could then use them anywhere else.
    pub accept_session_token: bool,
    /// The format of its audience tokens. Opaque ones always count, so that those of before a change expire as usual.
    pub tokens: TokenFormat,
    /// Networks of the service. The daemon does not limit the number of their connections.
    pub addresses: Vec<IpNet>,
}

/// How a service validates tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceKind {
    /// By introspection or through a reverse proxy.
    Http,
    /// As a Kubernetes API server, with its token webhook.
    Kubernetes(Cluster),
}

/// All services, and the sessions whose tokens they validate.
pub struct Services {
    sessions: Arc<Sessions>,
    backends: Backends,
    all: Vec<Arc<Service>>,
}

pub struct Service {
    settings: ServiceSettings,
    credentials: Credentials,
}

#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    Token(#[from] NotAuthenticated),
    #[error("`allow` of the service does not admit the user")]
    NotAllowed,
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("no service has this audience or name")]
    NoService,
    #[error("`allow` of the service does not admit the user")]
    NotAllowed,
    #[error(transparent)]
    NotAClusterUser(#[from] NotAClusterUser),
    #[error(transparent)]
    NotDelegated(#[from] NotDelegated),
    #[error(transparent)]
    AudienceToken(#[from] AudienceTokenError),
}

impl Services {
    pub fn new(sessions: Arc<Sessions>, services: Vec<ServiceSettings>, backends: Backends) -> Self {
        let services = services.into_iter().map(|settings| {
            let credentials = Credentials::new(&settings.name, settings.credentials.clone());
            Arc::new(Service { settings, credentials })
        });
        Self { all: services.collect(), sessions, backends }
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Service>> {
        self.all.iter().find(|service| service.settings.name == name)
    }

    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let clusters = self.all.iter().filter(|service| service.cluster().is_some());
        clusters.map(|service| service.settings.name.as_str())
    }

    /// Whether `secret` is one of the service's credentials. An error means unknown, not wrong.
    pub async fn verify_credential(&self, service: &Service, secret: &[u8]) -> Result<bool, ReadError> {
        service.credentials.verify(secret, &self.backends).await
    }

    /// Like [`Self::verify_credential`], but from the cache only and without waiting. `false` means unknown, not wrong.
    pub fn verify_credential_cached(&self, service: &Service, secret: &[u8]) -> bool {
        service.credentials.verify_cached(secret)
    }

    /// Issues an audience token for the service with this audience or name, if the service admits the caller and the caller's
    /// session may be used there.
    pub async fn issue(
        &self,
        caller: &Caller,
        wanted: &str,
    ) -> Result<(MintedAudienceToken, &Service), IssueError> {
        let service = self.find_admitting(caller, wanted)?;
        caller.require_audience(&service.settings.audience)?;
        let audience = &service.settings.audience;
        let token = match &service.settings.tokens {
            TokenFormat::Opaque => self.sessions.issue_audience_token(caller, audience).await?,
            TokenFormat::Jwt { groups } => self.sessions.issue_signed_token(caller, audience, groups).await?,
        };
        Ok((token, service))
    }

    /// Finds the service with this audience or name, if it admits the caller.
    fn find_admitting(&self, caller: &Caller, wanted: &str) -> Result<&Service, IssueError> {
        let service = self.find_wanted(wanted).ok_or(IssueError::NoService)?;
        if !service.admits(caller) {
            return Err(IssueError::NotAllowed);
        }
        // Checked here because the API server could not tell the user why it rejects them.
        if let Some(cluster) = service.cluster() {
            cluster.map_user(caller)?;
        }
        Ok(service)
    }

    /// Finds the service with this audience or name, and the first rule of the workload that lists it.
    pub fn find_for_workload<'a>(
        &self,
        workload: &'a IdentifiedWorkload,
        wanted: &str,
    ) -> Option<(&'a MatchingRule, &Service)> {
        let service = self.find_wanted(wanted)?;
        let rule = workload.rules().iter().find(|rule| service.settings.workloads.contains(&rule.name))?;
        Some((rule, service))
    }

    fn find_wanted(&self, wanted: &str) -> Option<&Service> {
        let is_meant =
            |service: &&Arc<Service>| service.settings.audience == wanted || service.settings.name == wanted;
        self.all.iter().find(is_meant).map(Arc::as_ref)
    }

    /// Authorizes a token for the service: it must be valid there, and the service must admit its user. Counts as use.
    pub async fn authorize(
        &self,
        service: &Service,
        presented: Presented<'_>,
    ) -> Result<AuthorizedCaller, Denied> {
        service.check_rules(
            self.sessions.authenticate_for(presented, service.accepted(), SessionUse::Recorded).await?,
        )
    }

    /// Like [`Self::authorize`], but from the cache only and without waiting. `None` means not cached or denied.
    pub fn authorize_cached(&self, service: &Service, token: &str) -> Option<AuthorizedCaller> {
        service.check_rules(self.sessions.authenticate_cached(token, service.accepted())?).ok()
    }
}

impl Service {
    fn accepted(&self) -> AcceptedTokens<'_> {
        AcceptedTokens {
            audience: Some(&self.settings.audience),
            session_token: self.settings.accept_session_token,
            signed: self.settings.tokens.is_jwt(),
        }
    }

    fn check_rules(&self, authorized: AuthorizedCaller) -> Result<AuthorizedCaller, Denied> {
        if self.admits(authorized.caller()) { Ok(authorized) } else { Err(Denied::NotAllowed) }
    }

    /// Whether the service admits the person, or a rule for the workload lists the service.
    fn admits(&self, caller: &Caller) -> bool {
        match caller.user().workload() {
            Some(name) => self.settings.workloads.iter().any(|listed| listed == name),
            None => self.settings.allow.admits(caller),
        }
    }

    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// The cluster, if the service is a Kubernetes API server.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.settings.kind {
            ServiceKind::Kubernetes(cluster) => Some(cluster),
            ServiceKind::Http => None,
        }
    }
}

pub fn networks(services: &[ServiceSettings]) -> Networks {
    Networks::new(services.iter().flat_map(|service| service.addresses.iter().copied()).collect())
}
