//! Establishes and checks the identity of servers: at first contact and later.

mod ca_rollover;

use std::path::Path;

use infra_shared::api;
use infra_shared::http::{Untrusted, authorities_from_pem, others_in_pem};
use infra_shared::origin::Origin;
use infra_shared::pin::{MalformedPin, Pin};
use infra_shared::printable::counted;

use crate::arguments::TrustArguments;
use crate::daemon_client::{DaemonClient, DaemonError};
use crate::failure::{Exit, Failure};
use crate::home::TrustRecord;
use crate::platform::STALE_EXPORTS;
use crate::settings::Settings;
use crate::terminal::Terminal;

pub use ca_rollover::store_ca_rollover;

/// Maximum number of a server's addresses in a message.
const MAX_ADDRESSES_SHOWN: usize = 5;
/// Maximum size of a CA file.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Trust options of the user, from the command line or the environment.
#[derive(Debug, Default)]
pub struct TrustOptions {
    record: Option<TrustRecord>,
    /// Names of the options or variables.
    sources: Vec<&'static str>,
}

/// A client for a server, with the records by which the server may prove itself.
#[derive(Debug)]
pub struct Connection {
    pub client: DaemonClient,
    trust_anchors: Vec<TrustRecord>,
}

/// A server that has proved its identity.
#[derive(Debug)]
pub struct VerifiedServer {
    pub connection: Connection,
    pub server: api::Server,
}

impl Connection {
    /// The record that the server has proved, or has yet to prove.
    pub fn record(&self) -> &TrustRecord {
        self.trust_anchors
            .get(self.client.proved_anchor())
            .expect("the client has one anchor for each record")
    }

    /// Whether the server proved itself by an announced record instead of the stored one.
    pub fn has_rolled_over(&self) -> bool {
        self.client.proved_anchor() > 0
    }
}

impl TrustOptions {
    /// Reads the trust options, of the command line or of the environment. If both have one, they must agree: later
    /// commands read only the environment, and would reject what this one stores.
    pub fn read(arguments: &TrustArguments, settings: &Settings) -> Result<Self, Failure> {
        if let (Some(given), Some(variable)) = (arguments.fingerprint, settings.fingerprint)
            && given != variable
        {
            let shown = [given.to_string(), variable.to_string()];
            return Err(contradiction(["--fingerprint", "INFRA_FINGERPRINT"], shown));
        }
        if let (Some(given), Some(variable)) = (&arguments.ca_file, &settings.ca_file)
            && given != variable
        {
            let record = |file| {
                Ok::<_, Failure>(TrustRecord::CaFile { certificates: read_authorities(file)?, pin: None })
            };
            let (given, variable) = (record(given)?, record(variable)?);
            if !given.agrees_with(&variable) {
                let shown = [given.description(), variable.description()];
                return Err(contradiction(["--ca-file", "INFRA_CA_FILE"], shown));
            }
        }
        let pin = arguments.fingerprint.map(|pin| (pin, "--fingerprint"));
        let pin = pin.or(settings.fingerprint.map(|pin| (pin, "INFRA_FINGERPRINT")));
        let file = arguments.ca_file.as_deref().map(|file| (file, "--ca-file"));
        let file = file.or(settings.ca_file.as_deref().map(|file| (file, "INFRA_CA_FILE")));
        let certificates = file.map(|(file, _)| read_authorities(file)).transpose()?;
        let sources = pin.iter().map(|(_, source)| *source).chain(file.iter().map(|(_, source)| *source));
        let sources = sources.collect();
        let record = match (certificates, pin.map(|(pin, _)| pin)) {
            (Some(certificates), pin) => Some(TrustRecord::CaFile { certificates, pin }),
            (None, Some(pin)) => Some(TrustRecord::Pinned { pin }),
            (None, None) => None,
        };
        Ok(Self { record, sources })
    }

    /// The option to trust the operating system's authorities.
    pub fn system() -> Self {
        Self { record: Some(TrustRecord::System), sources: vec!["--system"] }
    }

    /// Reads the trust options of the environment for `origin`. If `INFRA_SERVER` names a server, they belong to that
    /// one.
    pub fn from_environment(origin: &Origin, settings: &Settings) -> Result<Self, Failure> {
        if settings.server.as_ref().is_some_and(|server| server != origin) {
            return Ok(Self::default());
        }
        Self::read(&TrustArguments { fingerprint: None, ca_file: None }, settings)
    }

    /// Whether they are exactly `record`.
    pub fn is(&self, record: &TrustRecord) -> bool {
        self.record.as_ref() == Some(record)
    }

    pub fn is_empty(&self) -> bool {
        self.record.is_none()
    }

    /// Reports certificates of a CA file that are ignored.
    fn report_ignored(&self, terminal: Terminal) {
        let Some(TrustRecord::CaFile { certificates, .. }) = &self.record else { return };
        let others = others_in_pem(certificates.as_bytes());
        if others > 0 {
            terminal.info(&format!(
                "ignored {} in the CA file: only those of certification authorities count",
                counted(others, "certificate")
            ));
        }
    }

    fn pin(&self) -> Option<Pin> {
        match self.record {
            Some(TrustRecord::Pinned { pin } | TrustRecord::CaFile { pin: Some(pin), .. }) => Some(pin),
            _ => None,
        }
    }
}

/// An option and a variable that name different identities.
fn contradiction([option, variable]: [&str; 2], [given, other]: [String; 2]) -> Failure {
    Failure::new(Exit::Usage, format!("{option} and {variable} name different identities"))
        .because_text(format!("given by {option}: {given}"))
        .because_text(format!("given by {variable}: {other}"))
        .hint(format!("if {option} is right, unset {variable} or correct it; {STALE_EXPORTS}"))
}

/// The PEM text of `file`, which must contain certification authorities.
fn read_authorities(file: &Path) -> Result<String, Failure> {
    use std::io::Read;

    let failure = || Failure::new(Exit::Usage, format!("cannot use {} as a CA file", file.display()));
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MAX_PEM_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| failure().because(&error))?;
    if text.len() as u64 > MAX_PEM_BYTES {
        return Err(failure().because_text("it is larger than 1 MiB".to_owned()));
    }
    authorities_from_pem(text.as_bytes()).map_err(|error| failure().because(&error))?;
    Ok(text)
}

/// A client for a server that proves one of `trust_anchors`. For an unknown server, it must match the trust options,
/// or else the operating system's authorities.
pub fn connect(
    origin: &Origin,
    mut trust_anchors: Vec<TrustRecord>,
    options: TrustOptions,
) -> Result<Connection, DaemonError> {
    if trust_anchors.is_empty() {
        trust_anchors.push(options.record.unwrap_or(TrustRecord::System));
    }
    // Records are checked when they are stored. If one has no certificates now, no server can prove it.
    let trusts = trust_anchors.iter().map(TrustRecord::to_trust).collect::<Result<Vec<_>, _>>();
    let trusts = trusts.map_err(|_| DaemonError::Untrusted(Untrusted::UnknownAuthority))?;
    Ok(Connection { client: DaemonClient::new(origin, trusts)?, trust_anchors })
}

/// Contacts a server before a sign-in and checks its identity. A known server must prove its stored record. An unknown
/// one must match the trust options, the operating system's authorities, or the fingerprint that the user enters.
pub fn establish_trust(
    origin: &Origin,
    trust_anchors: Vec<TrustRecord>,
    previous_trust: &[TrustRecord],
    options: TrustOptions,
    terminal: Terminal,
) -> Result<VerifiedServer, Failure> {
    check_trust_options(origin, trust_anchors.first(), previous_trust, &options)?;
    options.report_ignored(terminal);
    let is_first_contact = trust_anchors.is_empty() && options.is_empty();
    let given = if trust_anchors.is_empty() { options.pin() } else { None };
    let given = given.zip(options.sources.first().copied());
    match contact(origin, trust_anchors, options) {
        Ok(verified) => Ok(verified),
        // With a wrong clock, a fingerprint would fail too.
        Err(error @ DaemonError::Untrusted(Untrusted::Expired | Untrusted::NotYetValid)) => {
            Err(error.to_failure(origin))
        }
        Err(DaemonError::Untrusted(_) | DaemonError::NoClient(_))
            if is_first_contact && terminal.interactive =>
        {
            ask_for_fingerprint(origin, terminal)
        }
        Err(DaemonError::Untrusted(reason)) if is_first_contact => {
            Err(first_contact_failure(origin, &reason))
        }
        Err(DaemonError::NoClient(reason)) if is_first_contact => Err(first_contact_failure(origin, &reason)),
        Err(error) => Err(mismatch_failure(origin, given, &error)),
    }
}

/// Rejects trust options that contradict the stored record of a server.
pub fn check_trust_options(
    origin: &Origin,
    known: Option<&TrustRecord>,
    previous_trust: &[TrustRecord],
    options: &TrustOptions,
) -> Result<(), Failure> {
    match (known, &options.record) {
        (Some(known), Some(given)) if !known.agrees_with(given) && !previous_trust.contains(given) => {
            Err(Failure::new(
                Exit::Untrusted,
                format!("the identity of {origin} that was given is not the stored one"),
            )
            .because_text(format!("given by {}: {}", options.sources.join(" and "), given.description()))
            .because_text(format!("stored by an earlier sign-in or `infra trust`: {}", known.description()))
            .hint(format!(
                "if the stored one is right, correct or omit {}; if the server's operator confirms the given one, run `infra \
                 trust {origin}` with it{}",
                options.sources.join(" and "),
                if origin.is_loopback() { format!("; {STALE_EXPORTS}") } else { String::new() }
            )))
        }
        _ => Ok(()),
    }
}

fn contact(
    origin: &Origin,
    trust_anchors: Vec<TrustRecord>,
    options: TrustOptions,
) -> Result<VerifiedServer, DaemonError> {
    let connection = connect(origin, trust_anchors, options)?;
    let server = connection.client.server()?;
    Ok(VerifiedServer { connection, server })
}

/// Asks for the expected fingerprint before showing the received one, because users confirm what they are shown.
fn ask_for_fingerprint(origin: &Origin, terminal: Terminal) -> Result<VerifiedServer, Failure> {
    terminal.print(&format!(
        "{origin} is not known here, and no public certification authority vouches for it.\n\
         Ask its operator for the fingerprint, which `infrad serve` and `infrad fingerprint` print."
    ));
    let answer = terminal.ask("Paste the fingerprint, or the whole line")?;
    let pin = find_pin(&answer)
        .map_err(|error| Failure::new(Exit::Untrusted, "that contains no fingerprint").because(&error))?;
    let options = TrustOptions { record: Some(TrustRecord::Pinned { pin }), sources: vec!["your input"] };
    contact(origin, Vec::new(), options)
        .map_err(|error| mismatch_failure(origin, Some((pin, "your input")), &error))
}

/// The failure of contacting a server. If its fingerprint differs from the given one, both are shown.
fn mismatch_failure(origin: &Origin, given: Option<(Pin, &str)>, error: &DaemonError) -> Failure {
    match (error, given) {
        (DaemonError::Untrusted(Untrusted::OtherPin { received, .. }), Some((given, source))) => Failure::new(
            Exit::Untrusted,
            format!("{origin} has another fingerprint than the one given; nothing was sent to it"),
        )
        .because_text(format!("expected {given} ({source})"))
        .because_text(format!("received {received}"))
        .hint(format!(
            "compare both with the operator of {origin} through another channel; if the expected one is right, an \
             attacker may be intercepting your connection{}",
            if origin.is_loopback() { format!("; {STALE_EXPORTS}") } else { String::new() }
        )),
        // It was never known here, so its identity cannot have changed.
        (DaemonError::Untrusted(Untrusted::NoAuthoritySent), Some((given, _))) => Failure::new(
            Exit::Untrusted,
            format!("{origin} cannot prove the fingerprint that was given; nothing was sent to it"),
        )
        .because_text(format!("it sent no certification authority that could have the fingerprint {given}"))
        .hint(
            "omit `--fingerprint` if the server has a public certificate, or use `--ca-file FILE` if an authority of your \
             organisation issued it; the server's operator knows which",
        ),
        _ => error.to_failure(origin),
    }
}

/// Without a user to ask, an unknown server stays unknown.
fn first_contact_failure(origin: &Origin, reason: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Untrusted, format!("{origin} is not known here and did not prove its identity; nothing was sent to it"))
        .because(reason)
        .hint(format!(
            "`infra login {origin} --fingerprint sha256:…` with the fingerprint from its operator (`infrad fingerprint` \
             prints it), or `--ca-file FILE`"
        ))
}

/// Finds the fingerprint in a pasted text: alone, or in the line that the daemon prints.
fn find_pin(text: &str) -> Result<Pin, MalformedPin> {
    let mut malformed = MalformedPin::Other;
    for word in text.split_whitespace() {
        match word.parse() {
            Ok(pin) => return Ok(pin),
            Err(MalformedPin::Other) => {}
            Err(unnamed) => malformed = unnamed,
        }
    }
    Err(malformed)
}

/// The pin that binds a sign-in to the server that proved `record`. Required for a server with its own authority,
/// which would otherwise reject the sign-in at its end.
pub fn binding_pin(origin: &Origin, record: &TrustRecord, announced: &[Pin]) -> Result<Option<Pin>, Failure> {
    let pin = match record {
        TrustRecord::System => None,
        TrustRecord::Pinned { pin } | TrustRecord::CaFile { pin: Some(pin), .. } => Some(*pin),
        TrustRecord::CaFile { .. } => record.pins().into_iter().find(|pin| announced.contains(pin)),
    };
    if pin.is_none() && !announced.is_empty() {
        return Err(Failure::new(
            Exit::Untrusted,
            format!("{origin} has its own certification authority, but its fingerprint is not stored here"),
        )
        .hint(format!(
            "`infra trust {origin} --fingerprint sha256:…`, or for a new server `infra login` with it; its operator has the \
             fingerprint (`infrad fingerprint` prints it)"
        )));
    }
    Ok(pin)
}

/// Checks that the server accepts sign-ins at the dialled address. Otherwise, for example at a tunnel's port, it would
/// reject the sign-in only after the user has authenticated.
pub fn check_address(origin: &Origin, server: &api::Server) -> Result<(), Failure> {
    let known = &server.public_urls;
    let Some(first) = known.first().filter(|_| !known.contains(origin)) else { return Ok(()) };
    let port = known.iter().find(|known| known.host() == origin.host()).unwrap_or(first).port();
    let shown: Vec<String> = known.iter().take(MAX_ADDRESSES_SHOWN).map(ToString::to_string).collect();
    Err(Failure::new(
        Exit::LoginFailed,
        format!("the server does not accept sign-ins at {origin}, only at {}", shown.join(", ")),
    )
    .hint(format!(
        "sign in at one of these; through a tunnel, forward the same port (`ssh -L {port}:127.0.0.1:{port}`, `kubectl \
         port-forward … {port}`), or ask the server's operator to add {origin} to `publicURLs`"
    )))
}

#[cfg(test)]
mod tests;
