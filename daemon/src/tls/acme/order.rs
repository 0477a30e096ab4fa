//! One ACME order from creation to certificate (RFC 8555 §7.1.6).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::authority::{AuthorityError, words};
use super::challenge;
use super::nonces::{is_kind, with_nonces};
use crate::store::Lease;
use crate::tls::chain::CheckedChain;
use crate::tls::resolver::{PendingChallenge, Protocol, Resolver};
use crate::tls::{AcmeError, TlsError};

/// Authorities validate from several locations in sequence.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(200)).timeout(Duration::from_secs(90));
const AWAITED: SignedDuration = SignedDuration::from_hours(24);

/// An issued chain with its key, not yet checked.
pub(super) struct Issued {
    pub(super) names: Vec<String>,
    pub(super) chain_pem: String,
    /// `None` if unknown.
    pub(super) obtained_at: Option<Timestamp>,
    /// PKCS #8.
    pub(super) private_key: Zeroizing<Vec<u8>>,
}

pub(super) struct Failure {
    pub(super) error: TlsError,
    /// Whether the authority certainly created no order.
    pub(super) is_without_order: bool,
    /// Whether the authority no longer knows the account.
    pub(super) is_without_account: bool,
}

/// Orders a certificate for `names` and answers the challenges. `replaces` is the certificate to replace (RFC 9773
/// §5).
pub(super) async fn order(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    resolver: &Arc<Resolver>,
    lease: &Lease,
) -> Result<Issued, Failure> {
    let mut order = make(account, names, replaces).await?;
    Ok(complete(&mut order, names, resolver, lease).await?)
}

async fn make(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Failure> {
    let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
    let plain = NewOrder::new(&identifiers);
    if let Some(replaced) = replaces {
        let replacing = NewOrder::new(&identifiers).replaces(replaced);
        match with_nonces!(account.new_order(&replacing)) {
            // It may already be replaced, or unknown to the authority: order without `replaces`.
            Err(Error::Api(problem)) if !is_kind(&problem, "rateLimited") => {}
            Err(Error::Other(other)) if !other.is::<AuthorityError>() => {}
            made => return made.map_err(not_made),
        }
    }
    with_nonces!(account.new_order(&plain)).map_err(not_made)
}

fn not_made(error: Error) -> Failure {
    let is_without_account = matches!(&error, Error::Api(problem) if is_kind(problem, "accountDoesNotExist"));
    let error = AuthorityError::from(error);
    Failure {
        is_without_order: is_without_account || error.was_never_sent(),
        is_without_account,
        error: AcmeError::from(error).into(),
    }
}

async fn complete(
    order: &mut Order,
    names: &[String],
    resolver: &Arc<Resolver>,
    lease: &Lease,
) -> Result<Issued, TlsError> {
    // Keep answering until the authority has decided.
    let pending = prove(order, names, resolver, lease).await?;
    match with_nonces!(order.poll_ready(&POLLING)) {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why_not_validated(order, "the order became invalid").await.into()),
        Err(Error::Api(problem)) => return Err(why_not_validated(order, &words(&problem)).await.into()),
        Err(error) => return Err(failure(error)),
    }
    drop(pending);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&key)?;
    with_nonces!(order.finalize_csr(request.der())).map_err(failure)?;
    let chain_pem = with_nonces!(order.poll_certificate(&POLLING)).map_err(failure)?;
    let private_key = Zeroizing::new(key.serialize_der());
    Ok(Issued { names: names.to_vec(), chain_pem, obtained_at: None, private_key })
}

/// Answers the challenge of each name and reports it as ready.
async fn prove(
    order: &mut Order,
    names: &[String],
    resolver: &Arc<Resolver>,
    lease: &Lease,
) -> Result<Vec<PendingChallenge>, TlsError> {
    // Fetch all of them first, so that a retried step does not skip any.
    with_nonces!(fetch_authorizations(order)).map_err(failure)?;
    let mut pending = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failure)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Identifier::Dns(name) = authorization.identifier().identifier.clone() else { continue };
        // Never answer for a name that was not ordered.
        if !names.contains(&name) {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(AcmeError::NoChallenge { name }.into());
        };
        let digest: [u8; 32] =
            challenge.key_authorization().digest().as_ref().try_into().expect("SHA-256 has 32 bytes");
        let answer = challenge::answer(&name, &digest)?;
        pending.push(resolver.answer(Protocol::AcmeTls, &name, &answer, lease).await?);
        with_nonces!(challenge.set_ready()).map_err(failure)?;
    }
    Ok(pending)
}

/// Fetches all authorizations. Those fetched before are cached.
async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// Finds the name that failed validation and the authority's reason.
async fn why_not_validated(order: &mut Order, otherwise: &str) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Identifier::Dns(name) = authorization.identifier().identifier.clone() else { continue };
        let Ok(state) = authorization.refresh().await else { continue };
        if state.status == AuthorizationStatus::Invalid {
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            let cause = problem.map_or_else(|| "it gave no reason".to_owned(), words);
            return AcmeError::NotValidated { name, cause };
        }
    }
    AuthorityError::Rejected(otherwise.to_owned()).into()
}

fn failure(error: Error) -> TlsError {
    AcmeError::from(AuthorityError::from(error)).into()
}

impl Issued {
    /// Checks that the chain is valid for all of its names.
    pub(super) fn check(&self, now: Timestamp) -> Result<CheckedChain, AcmeError> {
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| AuthorityError::NotAcme("it contains no PEM chain".to_owned()))?;
        let key = PrivatePkcs8KeyDer::from(self.private_key.to_vec());
        Ok(CheckedChain::check(chain, key.into(), &self.names, now)?)
    }

    /// Whether to wait for a corrected clock or free disk space instead of ordering again. Ends after one day.
    pub(super) fn is_awaited(&self, now: Timestamp) -> bool {
        let age = self.obtained_at.map(|obtained_at| now.duration_since(obtained_at));
        age.is_some_and(|age| (SignedDuration::ZERO..AWAITED).contains(&age))
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self { error, is_without_order: false, is_without_account: false }
    }
}
