//! Spellings of an identity header that a proxy might miss and an application might accept.

/// The value of a forged header. No application may read it as the proxy's.
pub const FORGED: &str = "forged-by-the-client";

/// Part of an HTTP/1.1 request.
#[derive(Debug, Clone)]
pub struct Spelling {
    pub name: String,
    /// Header lines, including their line endings.
    pub lines: Vec<u8>,
    /// The body, if the request has one.
    pub body: Option<Vec<u8>>,
    /// If `true`, every proxy must forward the request without the forged header.
    pub is_well_formed: bool,
}

/// Fields of an HTTP/2 request.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub name: String,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The seven names, as the daemon writes them.
pub const NAMES: [&str; 7] = [
    "X-Infra-User",
    "X-Infra-Email",
    "X-Infra-Name",
    "X-Infra-Groups",
    "X-Infra-Provider",
    "X-Infra-Session",
    "X-Infra-Actor",
];

/// Characters that are valid in a name (RFC 9110 §5.6.2) and that CGI turns into underscores.
const SEPARATORS: &str = "_.!#$%&'*+^`|~";

/// All spellings for HTTP/1.1.
pub fn over_http1() -> Vec<Spelling> {
    let mut all = Vec::new();
    // The exact names.
    all.extend(NAMES.map(|name| line(name, name)));
    for name in ["x-infra-user", "X-INFRA-USER", "x-InFrA-uSeR", "X-Infra--User"] {
        all.push(line(name, name));
    }
    // Names that CGI reads as the exact ones.
    for separator in SEPARATORS.chars() {
        let name = format!("X{separator}Infra{separator}User");
        all.push(line(&name, &name));
    }
    for name in [
        "x_infra_user",
        "X_INFRA_USER",
        "X-Infra_User",
        "X_Infra-User",
        "X-Infra.Groups",
        "HTTP_X_INFRA_USER",
        "HTTP-X-Infra-User",
        "http_x-infra_groups",
        "-X-Infra-User",
        "X-Infra-User-",
        "_X_Infra_User",
    ] {
        all.push(line(name, name));
    }
    // Invalid names.
    for (what, name) in [
        ("a space before the colon", "X-Infra-User "),
        ("a tab before the colon", "X-Infra-User\t"),
        ("a space before the name", " X-Infra-User"),
        ("spaces in the name", "X Infra User"),
        ("quotes", "\"X-Infra-User\""),
        ("slashes", "X/Infra/User"),
        ("equals signs", "X=Infra=User"),
        ("a zero byte", "X-Infra-User\0"),
        ("a vertical tab", "X-Infra-User\u{b}"),
        ("a soft hyphen", "X-Infra-User\u{ad}"),
        ("a hyphen that is none", "X\u{2010}Infra\u{2010}User"),
        ("a second colon", ":X-Infra-User"),
    ] {
        all.push(line(what, name));
    }
    // Unusual line endings.
    for (what, lines) in [
        ("after a bare line feed", format!("A: b\nX-Infra-User: {FORGED}\r\n")),
        ("after a bare carriage return", format!("A: b\rX-Infra-User: {FORGED}\r\n")),
        ("on a folded line", format!("A: b\r\n X-Infra-User: {FORGED}\r\n")),
        ("on a line folded with a tab", format!("A: b\r\n\tX-Infra-User: {FORGED}\r\n")),
        ("folded after its own name", format!("X-Infra-User:\r\n {FORGED}\r\n")),
        ("without a space", format!("X-Infra-User:{FORGED}\r\n")),
        ("with a tab", format!("X-Infra-User:\t{FORGED}\r\n")),
        ("twice", format!("X-Infra-User: {FORGED}\r\nX-Infra-User: {FORGED}\r\n")),
        ("twice, in two spellings", format!("x-infra-user: {FORGED}\r\nX_Infra_User: {FORGED}\r\n")),
        ("first empty, then not", format!("X-Infra-Email:\r\nX-Infra-Email: {FORGED}\r\n")),
        ("empty", "X-Infra-User:\r\nX-Infra-Groups:\r\n".to_owned()),
        ("forty times", format!("X-Infra-Groups: {FORGED}\r\n").repeat(40)),
    ] {
        // Proxies may reject bare line endings and folded lines.
        let is_well_formed = !what.contains("bare") && !what.contains("folded");
        all.push(Spelling { name: what.to_owned(), lines: lines.into_bytes(), body: None, is_well_formed });
    }
    all.extend(named_by_connection());
    all.extend(beyond_the_head());
    all
}

/// RFC 9110 §7.6.1: `Connection` names hop-by-hop headers. A proxy that processes it too late removes the
/// daemon's own headers.
fn named_by_connection() -> Vec<Spelling> {
    let names = NAMES.join(", ");
    [
        ("named by Connection", "Connection: X-Infra-User\r\n".to_owned()),
        ("all named by Connection", format!("Connection: keep-alive, {names}\r\n")),
        ("named by a second Connection", format!("Connection: keep-alive\r\nconnection: {names}\r\n")),
        ("named in lower case, without a space", "Connection: x-infra-user,x-infra-groups\r\n".to_owned()),
        (
            "named by Proxy-Connection and Keep-Alive",
            format!("Proxy-Connection: {names}\r\nKeep-Alive: {names}\r\n"),
        ),
        ("named by Trailer and TE", format!("Trailer: {names}\r\nTE: trailers\r\n")),
    ]
    .into_iter()
    .map(|(name, lines)| (name.to_owned(), lines.into_bytes()))
    .map(|(name, lines)| Spelling { name, lines, body: None, is_well_formed: true })
    .collect()
}

/// Headers in trailers, in smuggled requests and after a protocol upgrade.
fn beyond_the_head() -> Vec<Spelling> {
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {}\r\nX-Infra-User: {FORGED}\r\n\r\n", super::HOST);
    let trailer = format!("3\r\nabc\r\n0\r\nX-Infra-User: {FORGED}\r\nX_Infra_User: {FORGED}\r\n\r\n");
    let length = format!("Content-Length: {}\r\n", hidden.len() + 5);
    let mut all = Vec::new();
    for (name, lines, body) in [
        ("in trailers", "Transfer-Encoding: chunked\r\n".to_owned(), trailer.clone()),
        (
            "in trailers that are announced",
            "Transfer-Encoding: chunked\r\nTrailer: X-Infra-User, X_Infra_User\r\nTE: trailers\r\n"
                .to_owned(),
            trailer,
        ),
        (
            "in an extension of a chunk",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("3;X-Infra-User={FORGED}\nX-Infra-User: {FORGED}\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "hidden by both lengths",
            format!("{length}Transfer-Encoding: chunked\r\n"),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("hidden by a length with a plus", "Content-Length: +0\r\n".to_owned(), hidden.clone()),
        ("hidden by two lengths", format!("Content-Length: 0\r\n{length}"), hidden.clone()),
        (
            "hidden by a coding with a space",
            "Transfer-Encoding : chunked\r\n".to_owned(),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "hidden by a coding that is none",
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            format!("0\r\n\r\n{hidden}"),
        ),
    ] {
        let is_well_formed = name.starts_with("in trailers");
        let (lines, body) = (lines.into_bytes(), Some(body.into_bytes()));
        all.push(Spelling { name: name.to_owned(), lines, body, is_well_formed });
    }
    for protocol in ["h2c", "websocket"] {
        let lines = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        let name = format!("after a change to {protocol}");
        all.push(Spelling { name, lines: lines.into_bytes(), body: None, is_well_formed: false });
    }
    all
}

/// All spellings for HTTP/2.
pub fn over_http2() -> Vec<Fields> {
    let mut all: Vec<Fields> = [
        "x-infra-user",
        "x-infra-groups",
        "x_infra_user",
        "x-infra_user",
        "x.infra.user",
        "x~infra~user",
        "http_x_infra_user",
        // RFC 9113 §8.2.1: each is malformed.
        "X-Infra-User",
        "x-infra-user ",
        " x-infra-user",
        "x infra user",
        "x-infra-user\0",
        "x-infra-user:",
        ":x-infra-user",
        "a\r\nx-infra-user",
        "a: b\nx-infra-user",
        "x-infra-user\u{ad}",
    ]
    .into_iter()
    .map(|name| fields(name, &[(name, FORGED)], &[]))
    .collect();
    let line = format!("b\r\nX-Infra-User: {FORGED}");
    let feed = format!("b\nX-Infra-User: {FORGED}");
    let hidden = format!("chunked\r\nX-Infra-User: {FORGED}");
    all.push(fields("twice", &[("x-infra-user", FORGED), ("x-infra-user", FORGED)], &[]));
    all.push(fields("a line in a value", &[("a", &line)], &[]));
    all.push(fields("a line feed in a value", &[("a", &feed)], &[]));
    all.push(fields("a line in a coding", &[("transfer-encoding", &hidden)], &[]));
    all.push(fields("named by connection", &[("connection", "x-infra-user, x-infra-groups")], &[]));
    all.push(fields(
        "in trailers",
        &[("te", "trailers")],
        &[("x-infra-user", FORGED), ("x_infra_user", FORGED)],
    ));
    all.push(fields(
        "in trailers that are announced",
        &[("trailer", "x-infra-user")],
        &[("x-infra-user", FORGED)],
    ));
    all
}

fn line(what: &str, name: &str) -> Spelling {
    let lines = format!("{name}: {FORGED}\r\n").into_bytes();
    let of_token = |character: char| {
        character == '-' || character.is_ascii_alphanumeric() || SEPARATORS.contains(character)
    };
    Spelling { name: what.to_owned(), lines, body: None, is_well_formed: name.chars().all(of_token) }
}

fn fields(name: &str, fields: &[(&str, &str)], trailers: &[(&str, &str)]) -> Fields {
    let octets = |list: &[(&str, &str)]| {
        list.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    };
    Fields { name: name.escape_debug().to_string(), fields: octets(fields), trailers: octets(trailers) }
}
