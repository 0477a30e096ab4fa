//! A session in one block of memory. As a [`StoredSession`], it takes twelve blocks and three times the space.

use std::net::IpAddr;
use std::sync::OnceLock;

use infra_shared::api::{Delegation, LoginMethod, User};
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::weight;
use crate::store::{ClientInfo, StoredSession, TokenHash, time};

/// A live session without its token hash and the time of its last use, which the cache keeps apart.
#[derive(PartialEq, Eq)]
pub(super) struct PackedSession(Box<[u8]>);

struct Writer(Vec<u8>);

struct Reader<'a>(&'a [u8]);

/// Seven bits in each byte, the lowest first; the eighth bit says that more follow.
const MORE: u8 = 0x80;

impl PackedSession {
    /// Packs a session. `None` if it has ended, because only live sessions may be cached.
    pub(super) fn pack(session: &StoredSession) -> Option<Self> {
        if session.ended.is_some() {
            return None;
        }
        let mut writer = Writer(Vec::with_capacity(256));
        writer.text(session.id.as_str());
        writer.delegation(session.delegation.as_deref());
        writer.time(session.created_at);
        writer.time(session.expires_at);
        writer.number(session.revision as usize);
        let (user, client) = (&session.user, &session.client_info);
        writer.optional(user.name.as_deref());
        writer.optional(user.email.as_deref());
        writer.0.push(session.email_verified.into());
        writer.text(&user.provider);
        writer.text(&user.issuer);
        writer.text(&user.subject);
        writer.number(user.groups.len());
        user.groups.iter().for_each(|group| writer.text(group));
        writer.optional(client.device.as_deref());
        writer.0.push((client.login_method == LoginMethod::Paste).into());
        writer.address(client.address);
        Some(Self(writer.0.into_boxed_slice()))
    }

    /// The session that was packed.
    pub(super) fn unpack(&self, token_hash: [u8; 32], last_used_at: Timestamp) -> StoredSession {
        let session = Reader(&self.0).session(token_hash, last_used_at);
        session.expect("only `pack` writes this")
    }

    pub(super) fn id(&self) -> &str {
        Reader(&self.0).text().expect("only `pack` writes this")
    }

    /// The session that delegated it.
    pub(super) fn parent(&self) -> Option<&str> {
        let mut reader = Reader(&self.0);
        let as_packed = "only `pack` writes this";
        reader.text().expect(as_packed);
        let is_delegated = reader.flag().expect(as_packed);
        is_delegated.then(|| reader.text().expect(as_packed))
    }

    /// The bytes that the allocator spends on it.
    pub(super) fn weight(&self) -> usize {
        weight::allocated(self.0.len())
    }
}

impl Writer {
    fn number(&mut self, mut number: usize) {
        while let (rest @ 1.., low) = (number >> 7, number.to_le_bytes()[0]) {
            self.0.push(low | MORE);
            number = rest;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(text.is_some().into());
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// After the ID, so that [`PackedSession::parent`] reads little.
    fn delegation(&mut self, delegation: Option<&Delegation>) {
        self.0.push(delegation.is_some().into());
        if let Some(Delegation { parent, audiences, label }) = delegation {
            self.text(parent.as_str());
            self.number(audiences.len());
            for audience in audiences {
                self.text(audience);
            }
            self.text(label);
        }
    }

    fn time(&mut self, moment: Timestamp) {
        self.0.extend_from_slice(&time::to_database(moment).to_le_bytes());
    }

    fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.0.push(0),
            Some(IpAddr::V4(address)) => {
                self.0.push(4);
                self.0.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.0.push(6);
                self.0.extend_from_slice(&address.octets());
            }
        }
    }
}

impl<'a> Reader<'a> {
    fn session(&mut self, token_hash: [u8; 32], last_used_at: Timestamp) -> Option<StoredSession> {
        let id = SessionID::parse(self.text()?)?;
        let delegation = self.delegation()?.map(Box::new);
        let (created_at, expires_at) = (self.time()?, self.time()?);
        let revision = u32::try_from(self.number()?).ok()?;
        let (name, email) = (self.optional()?, self.optional()?);
        let email_verified = self.flag()?;
        let (provider, issuer, subject) = (self.owned()?, self.owned()?, self.owned()?);
        let groups = (0..self.number()?).map(|_| self.owned()).collect::<Option<_>>()?;
        let device = self.optional()?;
        let login_method = if self.flag()? { LoginMethod::Paste } else { LoginMethod::Browser };
        let address = self.address()?;
        Some(StoredSession {
            id,
            token_hash: TokenHash(token_hash),
            user: User { name, email, groups, provider, issuer, subject },
            email_verified,
            client_info: ClientInfo { device, login_method, address },
            delegation,
            created_at,
            expires_at,
            last_used_at,
            ended: None,
            revision,
            cached_json: OnceLock::new(),
            is_admitted: OnceLock::new(),
        })
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.bytes(LENGTH)?.try_into().ok()
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= usize::from(byte & !MORE) << shift;
            if byte & MORE == 0 {
                return Some(number);
            }
        }
        None
    }

    fn flag(&mut self) -> Option<bool> {
        let [byte] = self.array()?;
        Some(byte == 1)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    #[expect(clippy::option_option, reason = "the outer `None` means that the bytes are not a session")]
    fn optional(&mut self) -> Option<Option<String>> {
        if self.flag()? { self.owned().map(Some) } else { Some(None) }
    }

    #[expect(clippy::option_option, reason = "the outer `None` means that the bytes are not a session")]
    fn delegation(&mut self) -> Option<Option<Delegation>> {
        if !self.flag()? {
            return Some(None);
        }
        let parent = SessionID::parse(self.text()?)?;
        let audiences = (0..self.number()?).map(|_| self.owned()).collect::<Option<_>>()?;
        Some(Some(Delegation { parent, audiences, label: self.owned()? }))
    }

    fn time(&mut self) -> Option<Timestamp> {
        time::from_database(i64::from_le_bytes(self.array()?)).ok()
    }

    #[expect(clippy::option_option, reason = "the outer `None` means that the bytes are not a session")]
    fn address(&mut self) -> Option<Option<IpAddr>> {
        Some(match self.array()? {
            [4] => Some(IpAddr::from(self.array::<4>()?)),
            [6] => Some(IpAddr::from(self.array::<16>()?)),
            _ => None,
        })
    }
}
