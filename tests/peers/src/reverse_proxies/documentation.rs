//! The configurations from `docs/proxies.md`, with the examples replaced by the addresses and files of a
//! test.

use std::path::Path;

use super::{AuthServer, DAEMON, HOST, Kind};

const TEXT: &str = include_str!("../../../../docs/proxies.md");

/// What nginx needs around a file of `conf.d`: one process, no files outside its directory.
const NGINX: &str = "daemon off; master_process off; pid nginx.pid; events {} error_log stderr;
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include echo.conf;
}
";

/// A configuration file.
#[derive(Debug, Clone)]
pub struct File {
    /// The path according to the page.
    pub path: String,
    pub text: String,
}

/// The replacements for the page's examples.
pub(super) struct Place<'a> {
    pub(super) directory: &'a Path,
    pub(super) port: u16,
    pub(super) auth_server: AuthServer<'a>,
    pub(super) service: u16,
}

/// The files below a proxy's heading: code blocks that start with a comment with the file name.
pub(super) fn files(kind: Kind) -> Vec<File> {
    let heading = format!("\n## {}\n", kind.heading());
    let (_, rest) = TEXT.split_once(&heading).unwrap_or_else(|| panic!("no section{heading}"));
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    let mut files = Vec::new();
    for block in section.split("\n```").skip(1).step_by(2) {
        let (_, text) = block.split_once('\n').expect("the language of a block stands alone");
        if let Some((path, text)) = text.strip_prefix("# /").and_then(|text| text.split_once('\n')) {
            files.push(File { path: format!("/{path}"), text: format!("{text}\n") });
        }
    }
    if kind == Kind::Nginx {
        files.push(File { path: "/etc/nginx/nginx.conf".to_owned(), text: NGINX.to_owned() });
    }
    assert!(!files.is_empty(), "no configuration under {heading}");
    files
}

impl Place<'_> {
    /// The file's name in the directory of the test, and its text.
    pub(super) fn fill(&self, kind: Kind, file: &File) -> (String, String) {
        let Self { port, service, .. } = *self;
        let (auth_server, directory) = (self.auth_server.port, self.directory.display());
        let authority = self.auth_server.authority.display().to_string();
        let mut replaced = vec![
            ("/etc/ssl/infra-ca.pem", authority),
            ("/etc/ssl/echo.", format!("{directory}/echo.")),
            ("/etc/traefik/", format!("{directory}/")),
            ("127.0.0.1:8080", format!("127.0.0.1:{service}")),
        ];
        let (daemon, site, domain) = (
            format!("{DAEMON}:443"),
            format!("https://{HOST} {{"),
            format!("address: {DAEMON}, port_value: 443"),
        );
        match kind {
            Kind::Nginx => replaced.push(("listen 443", format!("listen 127.0.0.1:{port}"))),
            Kind::Caddy => {
                replaced.push((&site, format!("https://{HOST}:{port} {{\n\tbind 127.0.0.1")));
            }
            Kind::Traefik => replaced.push(("\":443\"", format!("\"127.0.0.1:{port}\""))),
            Kind::Envoy => {
                for (example, address, port) in [
                    (domain.as_str(), "127.0.0.1", auth_server),
                    ("address: 0.0.0.0, port_value: 443", "127.0.0.1", port),
                    ("address: 127.0.0.1, port_value: 8080", "127.0.0.1", service),
                ] {
                    replaced.push((example, format!("address: {address}, port_value: {port}")));
                }
            }
        }
        replaced.push((&daemon, format!("127.0.0.1:{auth_server}")));
        let text = replaced.iter().fold(file.text.clone(), |text, (example, own)| text.replace(example, own));
        let name = Path::new(&file.path).file_name().and_then(|name| name.to_str()).expect("a file's name");
        (name.to_owned(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_configuration_keeps_no_example_except_names() {
        let place = Place {
            directory: Path::new("/here"),
            port: 1,
            auth_server: AuthServer { port: 2, authority: Path::new("/here/ca.pem") },
            service: 3,
        };
        for kind in Kind::all() {
            let texts: Vec<String> = files(kind).iter().map(|file| place.fill(kind, file).1).collect();
            let text = texts.concat();
            for left in ["443", "8080", "/etc/", "0.0.0.0"] {
                assert!(!text.contains(left), "{kind:?} has {left}\n{text}");
            }
            for own in ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "/here/ca.pem", "/here/echo.key"] {
                let own = if kind == Kind::Envoy {
                    own.replace("127.0.0.1:", "port_value: ")
                } else {
                    own.to_owned()
                };
                let own = if kind == Kind::Caddy && own == "127.0.0.1:1" { format!("{HOST}:1") } else { own };
                assert!(text.contains(&own), "{kind:?} has no {own}\n{text}");
            }
        }
    }
}
