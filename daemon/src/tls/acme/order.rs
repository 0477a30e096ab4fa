//! One order, from its making to the chain: RFC 8555 §7.1.6, from top to bottom.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::authority::{AuthorityError, words};
use super::challenge;
use super::nonces::{is_kind, with_nonces};
use crate::tls::chain::CheckedChain;
use crate::tls::resolver::{PendingChallenge, Resolver};
use crate::tls::{AcmeError, TlsError};

/// Authorities look from several places, one after the other.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(200)).timeout(Duration::from_secs(90));
/// A chain with its key, not looked at yet.
pub(super) struct Issued {
    pub(super) chain_pem: String,
    /// PKCS #8.
    pub(super) private_key: Zeroizing<Vec<u8>>,
}

/// Why an order brought nothing.
pub(super) struct OrderFailure {
    pub(super) error: TlsError,
    /// Whether the authority has certainly made no order.
    pub(super) is_without_order: bool,
    /// Whether the authority does not know the account any more.
    pub(super) is_without_account: bool,
}

/// Orders a certificate for `names`, and answers the challenges. `replaces` names the one that it is to replace
/// (RFC 9773 §5).
pub(super) async fn order(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    resolver: &Arc<Resolver>,
) -> Result<Issued, OrderFailure> {
    let mut order = make(account, names, replaces).await?;
    Ok(complete(&mut order, names, resolver).await?)
}

async fn make(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, OrderFailure> {
    let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
    let plain = NewOrder::new(&identifiers);
    if let Some(replaced) = replaces {
        let replacing = NewOrder::new(&identifiers).replaces(replaced);
        match with_nonces!(account.new_order(&replacing)) {
            // It may have been replaced before, or the authority may have forgotten it.
            Err(Error::Api(problem)) if !is_kind(&problem, "rateLimited") => {}
            Err(Error::Other(other)) if !other.is::<AuthorityError>() => {}
            made => return made.map_err(not_made),
        }
    }
    with_nonces!(account.new_order(&plain)).map_err(not_made)
}

fn not_made(error: Error) -> OrderFailure {
    let is_without_account = matches!(&error, Error::Api(problem) if is_kind(problem, "accountDoesNotExist"));
    let error = AuthorityError::from(error);
    OrderFailure {
        is_without_order: is_without_account || error.is_without_answer(),
        is_without_account,
        error: AcmeError::from(error).into(),
    }
}

async fn complete(order: &mut Order, names: &[String], resolver: &Arc<Resolver>) -> Result<Issued, TlsError> {
    // Answered until the authority has made up its mind.
    let pending = prove(order, names, resolver).await?;
    match with_nonces!(order.poll_ready(&POLLING)) {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => return Err(why_not_validated(order).await.into()),
        Err(error) => return Err(failure(error)),
    }
    drop(pending);

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&key)?;
    with_nonces!(order.finalize_csr(request.der())).map_err(failure)?;
    let chain_pem = with_nonces!(order.poll_certificate(&POLLING)).map_err(failure)?;
    Ok(Issued { chain_pem, private_key: Zeroizing::new(key.serialize_der()) })
}

/// Answers the challenge of each name, and says so.
async fn prove(
    order: &mut Order,
    names: &[String],
    resolver: &Arc<Resolver>,
) -> Result<Vec<PendingChallenge>, TlsError> {
    // First, so that a step that is tried again leaves none of them out.
    with_nonces!(fetch_authorizations(order)).map_err(failure)?;
    let mut pending = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(failure)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Identifier::Dns(name) = authorization.identifier().identifier.clone() else { continue };
        // There is no answer for a name that was not asked for, whatever the authority says.
        if !names.contains(&name) {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(AcmeError::NoChallenge { name }.into());
        };
        let digest: [u8; 32] =
            challenge.key_authorization().digest().as_ref().try_into().expect("SHA-256 has 32 bytes");
        pending.push(resolver.answer_challenge(&name, challenge::answer(&name, &digest)?));
        with_nonces!(challenge.set_ready()).map_err(failure)?;
    }
    Ok(pending)
}

/// Those that were fetched before are not fetched again.
async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// Which name was not validated, in the words of the authority.
async fn why_not_validated(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Identifier::Dns(name) = authorization.identifier().identifier.clone() else { continue };
        let Ok(state) = authorization.refresh().await else { continue };
        if state.status == AuthorizationStatus::Invalid {
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            let cause = problem.map_or_else(|| "it did not say why".to_owned(), words);
            return AcmeError::NotValidated { name, cause };
        }
    }
    AuthorityError::Refused("the order became invalid".to_owned()).into()
}

fn failure(error: Error) -> TlsError {
    AcmeError::from(AuthorityError::from(error)).into()
}

impl Issued {
    /// The chain, once it is known to be good for all of `names`.
    pub(super) fn check(&self, names: &[String], now: Timestamp) -> Result<CheckedChain, AcmeError> {
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| AuthorityError::NotAcme("it holds no chain in PEM form".to_owned()))?;
        let key = PrivatePkcs8KeyDer::from(self.private_key.to_vec());
        Ok(CheckedChain::check(chain, key.into(), names, now)?)
    }
}

impl From<TlsError> for OrderFailure {
    fn from(error: TlsError) -> Self {
        Self { error, is_without_order: false, is_without_account: false }
    }
}
