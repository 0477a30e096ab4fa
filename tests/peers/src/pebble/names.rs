//! Pebble's name server. Tests set the addresses of names; initially there are none.

use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::http::{self, Limits, Trust};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

const READY: Duration = Duration::from_mins(1);

/// A running `pebble-challtestsrv`, stopped when dropped.
pub struct Names {
    /// The ports of the name server and of its management API.
    ports: Ports,
    client: Client,
    _running: Running,
}

impl Names {
    pub(super) fn start() -> Option<Self> {
        let program = peers::find_program("pebble-challtestsrv")?;
        let ports = Ports::reserve(2);
        let mut command = Command::new(program);
        command
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "", "-defaultIPv6", ""])
            .args(["-dns01", &format!("127.0.0.1:{}", ports.all()[0])])
            .args(["-management", &format!("127.0.0.1:{}", ports.all()[1])])
            .env_clear()
            .stdin(Stdio::null());
        let mut running = Running::start(command, "pebble-challtestsrv".to_owned(), None, READY);
        // Plain HTTP on loopback.
        let limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(30) };
        let client = http::blocking_client(&Trust::Authorities(Vec::new()), limits, true, http::Way::Direct)
            .expect("a client");
        let ready = wait::until(READY, || {
            assert!(running.is_running(), "pebble-challtestsrv ended at once\n{}", running.output());
            is_set(&client, ports.all()[1], "clear-a", &json!({ "host": "ready.test." })).then_some(())
        });
        assert!(ready.is_some(), "pebble-challtestsrv never became ready\n{}", running.output());
        Some(Self { ports, client, _running: running })
    }

    /// Sets the address of `name`.
    pub fn set(&self, name: &str, address: &str) {
        self.forget(name);
        self.post("add-a", &json!({ "host": fully_qualified(name), "addresses": [address] }));
    }

    /// Removes the address of `name`.
    pub fn forget(&self, name: &str) {
        self.post("clear-a", &json!({ "host": fully_qualified(name) }));
    }

    /// Answers queries for `name` with SERVFAIL.
    pub fn fail(&self, name: &str) {
        self.post("set-servfail", &json!({ "host": fully_qualified(name) }));
    }

    /// Undoes [`Self::fail`].
    pub fn clear_failure(&self, name: &str) {
        self.post("clear-servfail", &json!({ "host": fully_qualified(name) }));
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.all()[0])
    }

    fn post(&self, what: &str, body: &Value) {
        assert!(is_set(&self.client, self.ports.all()[1], what, body), "{what}: {body}");
    }
}

fn is_set(client: &Client, port: u16, what: &str, body: &Value) -> bool {
    let url = format!("http://127.0.0.1:{port}/{what}");
    client.post(url).body(body.to_string()).send().is_ok_and(|answer| answer.status().is_success())
}

fn fully_qualified(name: &str) -> String {
    format!("{name}.")
}
