//! What `infra` and `infrad` both have to know: the wire format, the text of a session token, how a login is bound to
//! one daemon, and HTTP over TLS whose peer is proven.

pub mod api;
pub mod clock;
pub mod dumps;
pub mod http;
pub mod login_binding;
pub mod origin;
pub mod pin;
pub mod printable;
pub mod random;
pub mod succession;
pub mod token_text;
