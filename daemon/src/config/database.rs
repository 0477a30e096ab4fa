//! `database`: the PostgreSQL database of several daemons. Without it, the store is a file in `dataDir`.

use std::time::Duration;

use infra_shared::http::Trust;

use crate::store::{ClientCertificate, DatabaseHost, DatabasePassword, PostgresSettings};

use super::error::FaultAt;
use super::limits;
use super::reference::References;
use super::remote;
use super::section::{Field, Section};
use super::settings::absolute_path;

/// In seconds. A member that is cut off alone rejects a revoked session only after this time.
const LONGEST_GRACE: u32 = 120;

/// Returns where the database is, and the grace.
pub(super) fn read(
    field: &Field<'_>,
    references: &mut References,
) -> Result<(PostgresSettings, Duration), FaultAt> {
    let section = field.section("database")?;
    section.require("kind", "kind: postgresql")?.choice(&[("postgresql", ())])?;
    let hosts = section.require("hosts", "hosts: [db1.internal, db2.internal:5433]")?;
    let text =
        |key, example: &str, expected: &str| section.require(key, example)?.text(expected).map(str::to_owned);
    let name = text("name", "name: infra", "the name of a database, such as `infra`")?;
    let user = text("user", "user: infrad", "the name of a role, such as `infrad`")?;
    let password = section.find("password").map(|field| {
        let example = "password: file:/run/credentials/infrad.service/db-password";
        let reference = references.read(&field, "the password of the database", example)?;
        Ok::<_, FaultAt>(DatabasePassword { reference, backends: references.backends.clone() })
    });
    let authorities = section.find("caFile").map(|field| remote::authorities(&field)).transpose()?;
    let settings = PostgresSettings {
        hosts: read_hosts(&hosts)?,
        name,
        user,
        password: password.transpose()?,
        client_certificate: client_certificate(&section)?,
        trust: authorities.map_or(Trust::System, Trust::Authorities),
    };
    Ok((settings, limits::time(&section, "grace", 0..=LONGEST_GRACE, Duration::ZERO)?))
}

fn read_hosts(field: &Field<'_>) -> Result<Vec<DatabaseHost>, FaultAt> {
    let expected = "a list of up to 8 servers, such as `[db1.internal, db2.internal:5433]`";
    let mut hosts: Vec<DatabaseHost> = Vec::new();
    for item in field.list(expected)? {
        let expected = "a name or address with an optional port, such as `db1.internal:5433`, or the directory of a Unix \
                        socket, such as `/run/postgresql`";
        let host = item.parsed(expected, DatabaseHost::parse)?;
        if hosts.contains(&host) {
            return Err(item.wrong("a server that the list does not contain yet"));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn client_certificate(section: &Section<'_>) -> Result<Option<ClientCertificate>, FaultAt> {
    const CERTIFICATE: &str = "/etc/infra/db-client.pem";
    const KEY: &str = "/etc/infra/db-client.key";
    match ["clientCertificate", "clientKey"].map(|key| section.find(key)) {
        [None, None] => Ok(None),
        [Some(certificate), Some(key)] => Ok(Some(ClientCertificate {
            certificate: absolute_path(&certificate, CERTIFICATE)?,
            private_key: absolute_path(&key, KEY)?,
        })),
        [None, _] => Err(section.missing("clientCertificate", &format!("clientCertificate: {CERTIFICATE}"))),
        [_, None] => Err(section.missing("clientKey", &format!("clientKey: {KEY}"))),
    }
}
