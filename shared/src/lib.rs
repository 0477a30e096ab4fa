//! What `infra` and `infrad` both have to know: the wire format, the text of a session token, how a login is bound to
//! one daemon, HTTP over TLS whose peer is proven, what to say of a command line that was not understood, and what
//! shells offer at TAB.

pub mod api;
pub mod clock;
pub mod command_line;
pub mod completion;
pub mod digest;
pub mod dumps;
pub mod http;
pub mod login_binding;
pub mod names;
pub mod origin;
pub mod pin;
pub mod plain_url;
pub mod printable;
pub mod random;
pub mod succession;
pub mod token_text;
