//! Checks the ports to which identity providers redirect the browser.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use infra_shared::api::Provider;

use super::Check;
use crate::browser_login::redirect_ports;
use crate::platform;

const NAME: &str = "ports";
/// Default redirect ports of a daemon.
const DEFAULT: [u16; 3] = [8301, 18301, 28301];

/// Checks each distinct list of ports once, with the providers that use it.
pub(super) fn check(providers: &[Provider]) -> Vec<Check> {
    let mut lists: BTreeMap<Vec<u16>, Vec<&str>> = BTreeMap::new();
    for provider in providers {
        let names = lists.entry(redirect_ports(&provider.redirect_uris)).or_default();
        if !names.contains(&provider.name.as_str()) {
            names.push(&provider.name);
        }
    }
    if lists.is_empty() {
        lists.insert(DEFAULT.to_vec(), Vec::new());
    }
    lists.iter().map(|(ports, names)| of_list(ports, names)).collect()
}

fn of_list(ports: &[u16], names: &[&str]) -> Check {
    let subject = (!names.is_empty()).then(|| names.join(", "));
    if ports.is_empty() {
        let what = "the server has no redirect address `http://127.0.0.1:PORT/callback`";
        return Check::wrong(NAME, subject, what, None, "ask the server's operator to set `redirectPorts`");
    }
    let close = || {
        format!(
            "close the program that uses one of them (`{}` shows it; it may be another `infra login`)",
            platform::LISTENERS_COMMAND
        )
    };
    // Bound and released at once, before any client connects.
    let bound = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map(drop);
    let results: Vec<(u16, io::Result<()>)> = ports.iter().map(|port| (*port, bound(port))).collect();
    let list = |ports: Vec<u16>| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let free: Vec<u16> = results.iter().filter(|(_, result)| result.is_ok()).map(|(port, _)| *port).collect();
    let taken: Vec<u16> =
        results.iter().filter(|(_, result)| result.is_err()).map(|(port, _)| *port).collect();
    let reserved =
        platform::reserved_ports_hint(results.iter().filter_map(|(_, result)| result.as_ref().err()));
    let state = if reserved.is_some() { "reserved or in use" } else { "in use" };
    match results.iter().find_map(|(_, result)| result.as_ref().err()) {
        None => Check::ok(NAME, subject, format!("free on 127.0.0.1: {}", list(free))),
        Some(_) if !free.is_empty() => Check::ok(
            NAME,
            subject,
            format!("free on 127.0.0.1: {}; {state}: {} (one free port is enough)", list(free), list(taken)),
        ),
        Some(error) => Check::wrong(
            NAME,
            subject,
            format!("cannot listen for the browser on 127.0.0.1, at any of the ports {}", list(taken)),
            Some(error.to_string()),
            format!(
                "{}, or ask the server's operator to register another port",
                reserved.map_or_else(close, str::to_owned)
            ),
        ),
    }
}
