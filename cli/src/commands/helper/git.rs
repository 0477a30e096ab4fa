//! `infra helper git`: a credential helper for git.
//!
//! gitcredentials(7) and git-credential(1): git runs the helper with an operation, and writes lines `key=value` to its
//! standard input, up to a blank line or the end. Values have no newline and no NUL. Keys that end in `[]` may repeat, and an
//! empty value clears them. `host` includes the port. The helper ignores unknown keys and unknown operations.
//!
//! - `get` is answered by the same kind of lines. Without an answer, git asks its next helper and then the user, unless the
//!   answer is `quit=1`.
//! - git ≥ 2.46 announces `capability[]=authtype`. If the answer announces it too, `authtype` and `credential` become the
//!   request's `Authorization` header. `ephemeral=1` tells other helpers not to store it.
//! - Any git accepts `username` and `password`, for Basic authentication. A user name in the request stays, if the answer has
//!   none. git ≥ 2.40 ignores both after `password_expiry_utc`.
//! - git ≥ 2.41 sends the challenges of the server as `wwwauth[]`.
//! - `store` and `erase` are ignored: nothing is stored for git, and the daemon knows if a token is still valid.

use std::fmt::Write;

use infra_shared::origin::Origin;
use jiff::Timestamp;

use super::request::{self, malformed};
use crate::arguments::GitHelper;
use crate::commands::Context;
use crate::commands::audience::ValidToken;
use crate::failure::{Exit, Failure};

/// git neither asks another helper nor prompts. A user would not know the password, and the server would not accept it.
const QUIT: &str = "quit=1\n";

pub(super) fn run(context: &Context, arguments: &GitHelper) -> Result<Exit, Failure> {
    if arguments.operation != "get" {
        return Ok(Exit::Done);
    }
    match answer(context, arguments) {
        Ok(answer) => context.terminal.data(&answer.unwrap_or_default())?,
        Err(failure) => {
            context.terminal.data(QUIT)?;
            return Err(failure);
        }
    }
    Ok(Exit::Done)
}

/// The answer to the request. `None` if the host is not bound: another helper may know it.
fn answer(context: &Context, arguments: &GitHelper) -> Result<Option<String>, Failure> {
    let request = Request::parse(&request::read()?)?;
    let Some(_) = request.bound(&arguments.binding.hosts)? else { return Ok(None) };
    let token = super::token(context, &arguments.binding)?;
    Ok(Some(request.answer(&token, &arguments.username, context.now())))
}

/// The parts of git's request that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    protocol: Option<String>,
    host: Option<String>,
    /// The URL or git's configuration has a user name, which stays.
    has_username: bool,
    /// git sends the header that the helper chooses.
    has_authtype: bool,
    /// The challenges of the server, if git knows any.
    challenges: Vec<String>,
}

impl Request {
    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        // A path may have any bytes. Replaced ones make a host that is not bound.
        let text = String::from_utf8_lossy(bytes);
        let mut request = Self::default();
        let mut rest = text.as_ref();
        while !rest.is_empty() {
            // An incomplete line may be the first half of a host.
            let (line, after) =
                rest.split_once('\n').ok_or_else(|| malformed("its last line is incomplete"))?;
            if line.is_empty() {
                break;
            }
            request.read_line(line)?;
            rest = after;
        }
        if request.protocol.is_none() || request.host.is_none() {
            return Err(malformed("it lacks `protocol` or `host`"));
        }
        Ok(request)
    }

    fn read_line(&mut self, line: &str) -> Result<(), Failure> {
        let is_control = |character: char| character.is_ascii_control() && character != '\t';
        if line.contains(is_control) {
            return Err(malformed("it contains control characters"));
        }
        let (key, value) = line.split_once('=').ok_or_else(|| malformed("a line has no `=`"))?;
        let once = |slot: &mut Option<String>| match slot.replace(value.to_owned()) {
            Some(_) => Err(malformed(&format!("it has two values of `{key}`"))),
            None => Ok(()),
        };
        match key {
            "protocol" => once(&mut self.protocol),
            "host" => once(&mut self.host),
            "username" => {
                self.has_username = !value.is_empty();
                Ok(())
            }
            "capability[]" => {
                self.has_authtype = !value.is_empty() && (self.has_authtype || value == "authtype");
                Ok(())
            }
            "wwwauth[]" => {
                if value.is_empty() {
                    self.challenges.clear();
                } else {
                    self.challenges.push(value.to_owned());
                }
                Ok(())
            }
            // git splits URLs itself, and would let this one replace what came before.
            "url" => Err(malformed("it has a `url` instead of its parts")),
            _ => Ok(()),
        }
    }

    /// Returns the bound host that the request names.
    fn bound<'a>(&self, hosts: &'a [Origin]) -> Result<Option<&'a Origin>, Failure> {
        let host = request::bound(hosts, self.host.as_deref().unwrap_or_default())?;
        match host {
            Some(host) if self.protocol.as_deref() != Some("https") => Err(request::unencrypted(host)),
            host => Ok(host),
        }
    }

    /// Whether git and the server understand `Authorization: Bearer`.
    fn is_bearer(&self) -> bool {
        let is_bearer = |challenge: &String| {
            let scheme = challenge.split([' ', '\t', ',']).next().unwrap_or_default();
            scheme.eq_ignore_ascii_case("bearer")
        };
        self.has_authtype && (self.challenges.is_empty() || self.challenges.iter().any(is_bearer))
    }

    fn answer(&self, token: &ValidToken, username: &str, now: Timestamp) -> String {
        let secret = token.token.expose();
        let mut answer = if self.is_bearer() {
            format!("capability[]=authtype\nauthtype=Bearer\ncredential={secret}\nephemeral=1\n")
        } else {
            let username = if self.has_username { String::new() } else { format!("username={username}\n") };
            format!("{username}password={secret}\n")
        };
        let _ = writeln!(answer, "password_expiry_utc={}", token.reported_expiry(now).as_second());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "protocol=https\nhost=git.example.test\n";

    fn parse(text: &str) -> Result<Request, Failure> {
        Request::parse(text.as_bytes())
    }

    #[test]
    fn request_of_git_is_understood() {
        let request =
            parse(&format!("capability[]=authtype\ncapability[]=state\n{PLAIN}path=a=b\nusername=bob\n"))
                .expect("a request");
        assert_eq!(
            (request.protocol.as_deref(), request.host.as_deref()),
            (Some("https"), Some("git.example.test"))
        );
        assert!(request.has_username && request.has_authtype);
        let path = Request::parse(b"protocol=https\nhost=git.example.test\npath=\xff\n").expect("a request");
        assert_eq!(path, parse(PLAIN).expect("one"));
        // Nothing after the blank line counts.
        assert_eq!(
            parse(&format!("{PLAIN}\nhost=evil.test\n")).expect("a request"),
            parse(PLAIN).expect("one")
        );
    }

    #[test]
    fn malformed_request_is_rejected() {
        for text in [
            "",
            "\n",
            "protocol=https\n",
            "host=git.example.test\n",
            "protocol=https\nhost=git.example.test",
            "protocol=https\nhost=evil.test\nhost=git.example.test\n",
            "protocol=http\nprotocol=https\nhost=git.example.test\n",
            "url=https://git.example.test/\n",
            "protocol=https\nhost=evil.test\nurl=https://git.example.test\n",
            "protocol=https\nhost=git.example.test\nurl=https://evil.test\n",
            "protocol=https\r\nhost=git.example.test\r\n",
            "protocol=https\nhost=evil.test\rhost=git.example.test\n",
            "protocol=https\nhost=git.example.test\0.evil.test\n",
            "protocol=https\nhost=git.example.test\npath=a\0b\n",
            "protocol=https\nhost=git.example.test\nnonsense\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn token_goes_to_bound_host_over_https_only() {
        let hosts = ["git.example.test".parse().expect("a host")];
        let bound =
            |text: &str| parse(text).and_then(|request| request.bound(&hosts).map(|host| host.is_some()));
        assert_eq!(bound(PLAIN).ok(), Some(true));
        for text in [
            "protocol=https\nhost=evil.test\n",
            "protocol=https\nhost=\n",
            "protocol=https\nhost=evil.test\npath=git.example.test\n",
            "protocol=https\nhost=evil.test\nusername=git.example.test\n",
            "protocol=cert\nhost=\npath=/a\n",
            "protocol=http\nhost=evil.test\n",
            "protocol=https\nhost=git.exampl\u{fffd}.test\n",
            " protocol=https\nprotocol=https\n host=git.example.test\nhost=evil.test\n",
        ] {
            assert_eq!(bound(text).ok(), Some(false), "{text:?}");
        }
        for protocol in ["http", "HTTPS", "https ", "ftp", "", "ssh", "https://x/?"] {
            let text = format!("protocol={protocol}\nhost=git.example.test\n");
            assert!(bound(&text).expect_err(protocol).to_string().contains("over https only"), "{protocol}");
        }
    }

    #[test]
    fn bearer_needs_capability_and_no_other_challenge() {
        for (lines, is_bearer) in [
            ("", false),
            ("capability[]=authtype\n", true),
            ("capability[]=state\n", false),
            ("capability[]=authtype\ncapability[]=\n", false),
            ("capability[]=authtype\ncapability[]=\ncapability[]=authtype\n", true),
            ("capability[]=authtype\nwwwauth[]=Bearer realm=\"infra\"\n", true),
            ("capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\nwwwauth[]=bearer\n", true),
            ("capability[]=authtype\nwwwauth[]=Basic realm=\"Bearer\"\n", false),
            ("capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\nwwwauth[]=\n", true),
            ("wwwauth[]=Bearer\n", false),
        ] {
            assert_eq!(parse(&format!("{lines}{PLAIN}")).expect(lines).is_bearer(), is_bearer, "{lines}");
        }
    }
}
