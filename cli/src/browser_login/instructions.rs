//! Advice for a browser on another machine, by where this process runs.

use std::fmt::Write;
use std::time::Duration;

use infra_shared::printable::printable;

use super::listener::Notice;
use crate::platform;
use crate::settings::{Destination, Environment};

/// POSIX maximum length of a host name.
const MAX_HOST_NAME: usize = 255;
const SSH: u16 = 22;

/// How a browser on another machine can reach `port` here. `None` if it can without help.
pub(super) fn return_instructions(environment: &Environment, port: u16, may_paste: bool) -> Option<String> {
    match environment {
        Environment::Remote(destination) => Some(format!(
            "The browser on your own machine returns here through SSH. Run this in another terminal there:\n\n  {}\n",
            ssh(port, destination.as_ref())
        )),
        Environment::Pod { namespace } => {
            let namespace =
                namespace.as_ref().map(|name| format!("--namespace {name} ")).unwrap_or_default();
            Some(format!(
                "This is a pod. A browser returns here through a forwarded port. Run this where the browser runs:\
                 \n\n  kubectl port-forward {namespace}pod/{} {port}:{port}\n",
                host_name()
            ))
        }
        Environment::Container if may_paste => {
            Some("This is a container: a browser on another machine cannot return here directly.".to_owned())
        }
        Environment::Container => Some(
            "This is a container: a browser on another machine cannot return here. Run `infra login` where you can paste an \
             address (`docker run -it`, `docker exec -it`), or in the host's network (`--network host`)."
                .to_owned(),
        ),
        Environment::WSL => None,
        Environment::Machine => Some(format!(
            "If your browser runs on another machine, forward the port from there first:\n\n  {}\n",
            ssh(port, None)
        )),
    }
}

/// Asks for the address that a browser could not reach, and shows the time left.
pub(super) fn paste(environment: &Environment, port: u16, listens: bool, left: Duration) -> String {
    let before = match environment {
        _ if !listens => "No port is free here. Sign in",
        Environment::Container => "Sign in",
        _ => "Or sign in",
    };
    let within = match left.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        // Round, so that the full time is shown right after the start.
        seconds => format!("{} min", (seconds + 30) / 60),
    };
    format!(
        "{before}, and paste the address of the page that does not load (http://127.0.0.1:{port}/…) here, within \
         {within}:"
    )
}

/// The message for a notice of the listener.
pub(super) fn notice_message(notice: Notice, may_paste: bool) -> &'static str {
    match (notice, may_paste) {
        (Notice::OtherLogin, _) => "ignored the response to another sign-in: still waiting",
        (Notice::AnotherUser, _) => {
            "rejected another user of this machine, who opened the address of this sign-in: still waiting"
        }
        (Notice::TLS, true) => {
            "a browser used https://, but this port accepts only http://: if its page stays empty, change https:// to \
             http:// in its address, or paste that address here"
        }
        (Notice::TLS, false) => {
            "a browser used https://, but this port accepts only http://: if its page stays empty, change https:// to \
             http:// in its address"
        }
        (Notice::TooLarge, true) => {
            "a browser sent more than 64 kB of headers: paste the address of its page here, or delete its cookies of \
             127.0.0.1"
        }
        (Notice::TooLarge, false) => {
            "a browser sent more than 64 kB of headers: delete its cookies of 127.0.0.1, then reload its page"
        }
    }
}

/// The `ssh` command that forwards `port` without opening a second shell.
fn ssh(port: u16, destination: Option<&Destination>) -> String {
    let mut line = format!("ssh -L {port}:127.0.0.1:{port} -N ");
    match destination {
        None => line.push_str(&ssh_host(&host_name())),
        Some(Destination { user, address, port }) => {
            if *port != SSH {
                let _ = write!(line, "-p {port} ");
            }
            if let Some(user) = user {
                let _ = write!(line, "{user}@");
            }
            let _ = write!(line, "{address}");
        }
    }
    line
}

/// A host name as an argument of `ssh`. A name made of digits would be read as an address of another machine.
fn ssh_host(host_name: &str) -> String {
    let is_address = matches!(url::Host::parse(host_name), Ok(url::Host::Ipv4(address)) if address.to_string() != host_name);
    if is_address || host_name.is_empty() { "THIS-HOST".to_owned() } else { host_name.to_owned() }
}

/// This machine's host name.
pub(super) fn host_name() -> String {
    printable(&platform::host_name(), MAX_HOST_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(user: Option<&str>, address: &str, port: u16) -> Environment {
        let address = address.parse().expect("an address");
        Environment::Remote(Some(Destination { user: user.map(str::to_owned), address, port }))
    }

    #[test]
    fn forwarding_command_matches_ssh_destination() {
        for (environment, line) in [
            (destination(Some("alice"), "10.0.0.2", 22), "ssh -L 8301:127.0.0.1:8301 -N alice@10.0.0.2\n"),
            (destination(None, "10.0.0.2", 2222), "ssh -L 8301:127.0.0.1:8301 -N -p 2222 10.0.0.2\n"),
            (destination(Some("bob"), "2001:db8::2", 22), "ssh -L 8301:127.0.0.1:8301 -N bob@2001:db8::2\n"),
        ] {
            let shown = return_instructions(&environment, 8301, true).expect("a line");
            assert!(shown.ends_with(line), "{shown}");
        }
        let namespace = Some("dev".to_owned());
        let shown = return_instructions(&Environment::Pod { namespace }, 8301, true).expect("a line");
        assert!(shown.contains("kubectl port-forward --namespace dev pod/"), "{shown}");
        assert!(shown.ends_with(" 8301:8301\n"), "{shown}");
    }

    #[test]
    fn numeric_host_name_is_omitted() {
        for (name, dialled) in [
            ("gate", "gate"),
            ("gate-7.example.com", "gate-7.example.com"),
            ("10.0.0.2", "10.0.0.2"),
            ("100200300", "THIS-HOST"),
            ("0x7f000001", "THIS-HOST"),
            ("10.7", "THIS-HOST"),
            ("", "THIS-HOST"),
        ] {
            assert_eq!(ssh_host(name), dialled);
        }
    }

    #[test]
    fn time_left_is_shown_in_one_unit() {
        for (seconds, shown) in
            [(300, "within 5 min:"), (299, "within 5 min:"), (61, "within 1 min:"), (9, "within 9 s:")]
        {
            let line = paste(&Environment::Machine, 8301, true, Duration::from_secs(seconds));
            assert!(line.ends_with(shown), "{line}");
        }
    }

    #[test]
    fn advice_omits_forwarding_where_impossible_or_unneeded() {
        assert_eq!(return_instructions(&Environment::WSL, 8301, true), None);
        for may_paste in [false, true] {
            let shown = return_instructions(&Environment::Container, 8301, may_paste).expect("advice");
            assert!(shown.contains("container") && !shown.contains("ssh"), "{shown}");
            assert_eq!(shown.contains("docker run -it"), !may_paste, "{shown}");
        }
    }
}
