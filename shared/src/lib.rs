//! Code shared by `infra` and `infrad`: the wire format, token formats, login binding, HTTP over authenticated TLS,
//! command-line errors, tables and shell completion.

pub mod api;
pub mod ca_rollover;
pub mod clock;
pub mod command_line;
pub mod completion;
pub mod core_dumps;
pub mod digest;
pub mod failure;
pub mod http;
pub mod login_binding;
pub mod names;
pub mod origin;
pub mod pin;
pub mod plain_url;
pub mod printable;
pub mod random;
pub mod signals;
pub mod table;
mod text_form;
pub mod token_text;
