//! `jwt`: how signed audience tokens are signed.

use infra_shared::origin::Origin;

use crate::jwt::{Algorithm, JwtSettings};
use crate::services::ServiceSettings;

use super::error::FaultAt;
use super::section::Section;

const ALGORITHMS: [(&str, Algorithm); 2] = [("ES256", Algorithm::ES256), ("EdDSA", Algorithm::EdDSA)];

/// Reads the section. `None` if no service has signed tokens. Services with such tokens need a public URL.
pub(super) fn read(
    top: &Section<'_>,
    public_urls: &[Origin],
    services: &[ServiceSettings],
) -> Result<Option<JwtSettings>, FaultAt> {
    let section = top.find("jwt").map(|field| field.section("jwt")).transpose()?;
    let algorithm = section.and_then(|section| section.find("algorithm"));
    let algorithm = algorithm.map_or(Ok(Algorithm::default()), |field| field.choice(&ALGORITHMS))?;
    let is_used = services.iter().any(|service| service.tokens.is_jwt());
    let issuer = public_urls.first().filter(|_| is_used);
    Ok(issuer.map(|issuer| JwtSettings { issuer: issuer.to_string(), algorithm }))
}
