//! What cached values cost in memory, as the allocator counts it.

use infra_shared::api::{Delegation, User};

use crate::store::{AudienceRestriction, StoredSession};

/// The two counters in front of the value in an `Arc`.
const ARC: usize = 2 * size_of::<usize>();
/// A session as JSON: an ID of ten characters and three times.
const SESSION_JSON: usize = 192;
/// A delegation as JSON, without its texts.
const DELEGATION_JSON: usize = 48;
/// A user as JSON, without its texts.
const USER_JSON: usize = 80;

/// The bytes that jemalloc takes for a block of `bytes`. Its size classes are multiples of 16, and beyond 128 bytes
/// there are four in each doubling.
pub(super) fn allocated(bytes: usize) -> usize {
    let spacing = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(spacing)
}

/// A shared session with all its texts, and with the JSON that is rendered when it is first used.
pub(super) fn of_session(session: &StoredSession) -> usize {
    let user = &session.user;
    let device = session.client_info.device.as_ref().map_or(0, |device| allocated(device.len()));
    allocated(ARC + size_of::<StoredSession>())
        + allocated(session.id.as_str().len())
        + allocated(user.groups.len() * size_of::<String>())
        + texts(user).map(|text| allocated(text.len())).sum::<usize>()
        + device
        + session.delegation.as_deref().map_or(0, of_delegation)
        + allocated(SESSION_JSON + session.delegation.as_deref().map_or(0, delegation_in_json))
        + allocated(USER_JSON + texts(user).map(|text| in_json(text)).sum::<usize>())
}

fn of_delegation(delegation: &Delegation) -> usize {
    let Delegation { parent, audiences, label } = delegation;
    allocated(size_of::<Delegation>())
        + allocated(parent.as_str().len())
        + allocated(audiences.len() * size_of::<String>())
        + audiences.iter().map(|audience| allocated(audience.len())).sum::<usize>()
        + allocated(label.len())
}

fn delegation_in_json(Delegation { parent, audiences, label }: &Delegation) -> usize {
    let audiences = audiences.iter().map(|audience| in_json(audience)).sum::<usize>();
    DELEGATION_JSON + in_json(parent.as_str()) + audiences + in_json(label)
}

/// A shared restriction, and the ID of the session that it belongs to.
pub(super) fn of_restriction(restriction: &AudienceRestriction, session: &str) -> usize {
    allocated(ARC + size_of::<AudienceRestriction>())
        + allocated(restriction.audience.len())
        + allocated(session.len())
}

fn texts(user: &User) -> impl Iterator<Item = &String> {
    let optional = [&user.name, &user.email].into_iter().flatten();
    optional.chain([&user.provider, &user.issuer, &user.subject]).chain(&user.groups)
}

/// The length of a text in JSON, with its quotes and a comma.
fn in_json(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    3 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the list of size classes in jemalloc(3).
    #[test]
    fn allocated_bytes_are_those_of_the_size_class() {
        for (bytes, class) in [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (250, 256),
            (257, 320),
            (513, 640),
            (4000, 4096),
            (70_000, 81_920),
        ] {
            assert_eq!(allocated(bytes), class, "{bytes}");
        }
    }
}
