//! Metrics, health checks, the log, and service manager notifications.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::documents::Page;
use infra_harness::login;
use infra_harness::ports::Ports;
use infra_harness::program::User;
use infra_harness::provider::Provider;
use infra_harness::view::View;
use infra_harness::wait;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const BOUND: Duration = Duration::from_secs(50);

/// A daemon with a separate metrics address.
struct MonitoredDaemon {
    daemon: Daemon,
    address: String,
    _ports: Ports,
}

impl MonitoredDaemon {
    fn start(provider: &Provider) -> Self {
        let mut monitored = Self::prepare(provider);
        monitored.daemon.start_again();
        monitored
    }

    fn prepare(provider: &Provider) -> Self {
        let ports = Ports::reserve(1);
        let address = format!("127.0.0.1:{}", ports.all().first().expect("a port was reserved"));
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
        daemon.change(|configuration| configuration.more = format!("metrics: {{listen: \"{address}\"}}\n"));
        Self { daemon, address, _ports: ports }
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(&self.address, path)
    }

    fn metrics(&self) -> String {
        metrics(&self.address)
    }

    fn metric(&self, series: &str) -> Option<f64> {
        metric(&self.address, series)
    }
}

/// Asks the metrics address of a daemon.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

fn metrics(address: &str) -> String {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    text
}

/// Returns the value of the series with this exact name and labels, from the metrics address of a daemon.
pub(crate) fn metric(address: &str, series: &str) -> Option<f64> {
    let metrics = metrics(address);
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().expect("a number"))
}

#[test]
fn metrics_count_events_and_unknown_paths_add_no_series() {
    let provider = Provider::start();
    let monitored = MonitoredDaemon::start(&provider);
    let (daemon, api) = (&monitored.daemon, monitored.daemon.api());
    assert_eq!(monitored.metric("infrad_ready"), Some(1.0));
    let token = login::over_http(daemon, &provider);
    let spent = login::Started::at(daemon);
    let response = spent.sign_in(&provider);
    assert_eq!(spent.finish(&response).status, 201);
    assert_eq!(spent.finish(&response).status, 410);
    for _ in 0..3 {
        assert_eq!(api.get_as("/v1/session", &token).status, 200);
    }
    assert_eq!(api.delete_as("/v1/session", &token).status, 204);
    for stranger in 0..50 {
        assert_eq!(api.get(&format!("/v1/{stranger}")).status, 404);
        assert_eq!(api.get_as("/v1/session", &format!("infra_{stranger}")).status, 401);
        let body = json!({"provider": format!("p{stranger}"), "redirectURI": "a", "state": "b", "codeChallenge": "c"});
        assert_eq!(api.post("/v1/logins", &body).status, 400);
    }

    for (series, value) in [
        ("infrad_http_requests_total{method=\"GET\",route=\"/v1/session\",status=\"200\"}", 3.0),
        ("infrad_http_requests_total{method=\"GET\",route=\"/v1/session\",status=\"401\"}", 50.0),
        ("infrad_http_requests_total{method=\"POST\",route=\"/v1/logins/finish\",status=\"201\"}", 2.0),
        ("infrad_http_requests_total{method=\"other\",route=\"other\",status=\"404\"}", 50.0),
        ("infrad_http_request_duration_seconds_count{method=\"DELETE\",route=\"/v1/session\"}", 1.0),
        (
            "infrad_http_request_duration_seconds_bucket{le=\"+Inf\",method=\"GET\",route=\"/v1/session\"}",
            53.0,
        ),
        ("infrad_logins_started_total{provider=\"okta\"}", 2.0),
        ("infrad_logins_total{provider=\"okta\",outcome=\"finished\"}", 2.0),
        ("infrad_logins_total{provider=\"okta\",outcome=\"ticket_used\"}", 1.0),
        ("infrad_logins_total{provider=\"\",outcome=\"bad_request\"}", 50.0),
        ("infrad_sessions_ended_total{reason=\"logout\"}", 1.0),
        ("infrad_secret_reads_total{purpose=\"exchange\"}", 2.0),
        ("infrad_store_write_failures_total", 0.0),
    ] {
        assert_eq!(monitored.metric(series), Some(value), "{series}\n{}", monitored.metrics());
    }
    assert!(monitored.metric("process_resident_memory_bytes").is_some_and(|bytes| bytes > 1e6));
    assert!(monitored.metric("process_open_fds").is_some_and(|count| count > 3.0));
    let metrics = monitored.metrics();
    assert!(metrics.ends_with("# EOF\n"));
    assert!(metrics.lines().count() < 250, "{metrics}");
    assert!(!metrics.contains("p49") && !metrics.contains(&token));
}

#[test]
fn full_disk_makes_daemon_not_ready_until_space_is_freed() {
    let provider = Provider::start();
    let Some(view) = View::new() else { return };
    let view = Arc::new(view);
    let mut monitored = MonitoredDaemon::prepare(&provider);
    let disk = monitored.daemon.data_dir();
    std::fs::create_dir(&disk).expect("a directory");
    view.mount_disk(&disk, 2048);
    // The daemon then records a use every 15 seconds.
    monitored
        .daemon
        .change(|configuration| "{inactivityTimeout: 5m}".clone_into(&mut configuration.sessions));
    monitored.daemon.set_view(&view);
    monitored.daemon.start_again();
    let token = login::over_http(&monitored.daemon, &provider);
    assert_eq!(monitored.get("/readyz").0, 204);

    view.fill_disk(&disk);
    // Existing files may still have room. The disk counts as full once a login fails for that reason.
    let api = monitored.daemon.api();
    let is_full = || {
        let started = login::Started::at(&monitored.daemon);
        let finished = started.finish(&started.sign_in(&provider));
        (finished.status == 503).then_some(())
    };
    assert!(wait::until(BOUND, is_full).is_some(), "{}", monitored.daemon.log());
    let (status, cause) = monitored.get("/readyz");
    assert_eq!((status, cause.contains("cannot write to the database")), (503, true), "{cause}");
    assert_eq!(api.get("/readyz").status, 503, "the same over HTTPS");
    assert_eq!(monitored.get("/healthz").0, 204, "a restart would not help");
    assert_eq!(monitored.metric("infrad_ready"), Some(0.0));
    // A request that writes nothing or little does not show that there is room for a login.
    for _ in 0..5 {
        assert_eq!(api.delete_as("/v1/sessions?which=others", &token).status, 200);
        assert_eq!(monitored.get("/readyz").0, 503, "logins fail");
        let status = monitored.daemon.infrad(["status"]).wait().expect(4);
        assert!(status.stdout.contains("cannot write to the database"), "{status}");
        assert_eq!(monitored.metric("infrad_ready"), Some(0.0));
    }
    assert!(monitored.metric("infrad_store_write_failures_total").is_some_and(|count| count >= 1.0));
    assert_eq!(api.get_as("/v1/session?use=false", &token).status, 200, "sessions stay valid");

    let failures = || monitored.metric("infrad_store_write_failures_total").unwrap_or_default();
    let before = failures();
    let is_used = || {
        assert_eq!(api.get_as("/v1/session", &token).status, 200, "a use that cannot be recorded");
        (failures() > before).then_some(())
    };
    assert!(wait::until(BOUND, is_used).is_some(), "a use is never recorded");

    view.empty_disk(&disk);
    let is_ready = || (monitored.get("/readyz").0 == 204).then_some(());
    assert!(wait::until(BOUND, is_ready).is_some(), "{}", monitored.daemon.log());
    monitored.daemon.infrad(["status"]).wait().expect(0);
    assert_eq!(api.delete_as("/v1/session", &token).status, 204);
}

#[test]
fn service_manager_is_notified_of_every_step() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let path = daemon.directory().join("notify");
    let notifications = UnixDatagram::bind(&path).expect("a socket");
    notifications.set_read_timeout(Some(BOUND)).expect("a timeout");
    let next = |expected: &str| loop {
        let mut buffer = [0; 4096];
        let length = notifications
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{expected} was never sent: {error}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|line| line == expected) {
            return text;
        }
    };
    daemon.set_environment("NOTIFY_SOCKET", &path.display().to_string());
    daemon.set_environment("WATCHDOG_USEC", "200000");
    daemon.start_again();
    next("READY=1");
    next("WATCHDOG=1");
    next("WATCHDOG=1");
    signal(&daemon, Signal::HUP);
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    signal(&daemon, Signal::TERM);
    next("STOPPING=1");
}

#[test]
fn reload_applies_log_level_and_names_restart_sections() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    daemon.api().get("/healthz");
    let log = daemon.complete_log();
    assert!(!log.contains("DEBUG"), "{log}");
    daemon.change(|configuration| {
        configuration.sessions = "{lifetime: 1h}".to_owned();
        configuration.more = "log: {level: debug}\n".to_owned();
    });
    signal(&daemon, Signal::HUP);
    daemon.wait_for_log("these sections changed: restart to apply them sections=\"sessions\"");
    drop(TcpStream::connect(("127.0.0.1", daemon.port())));
    daemon.wait_for_log("DEBUG");

    daemon.change(|configuration| configuration.more = "log: {level: lots}\n".to_owned());
    signal(&daemon, Signal::HUP);
    daemon.wait_for_log("the new configuration is invalid: still using the old one");
    login::over_http(&daemon, &provider);
}

#[test]
fn problem_and_log_share_request_id() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "log: {format: json}\n".to_owned();
    });
    let started = login::Started::at(&daemon);
    let response = started.sign_in(&provider);
    assert_eq!(started.finish(&response).status, 201);
    let refused = started.finish(&response).problem();
    let unknown = daemon.api().get_as("/v1/session", "infra_unknown").problem();
    daemon.wait_for_log(&refused.request_id);
    let log = daemon.wait_for_log(&unknown.request_id);
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let entries = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    let [login] = entries("signed in")[..] else { panic!("{log}") };
    assert!(login["span"]["request_id"].as_str().is_some_and(|id| id.len() == 12), "{login}");
    let refusals = entries("request rejected");
    assert_eq!(refusals.len(), 2, "{log}");
    assert_eq!(refusals[0]["span"]["request_id"], refused.request_id.as_str());
    assert_eq!(refusals[1]["span"]["request_id"], unknown.request_id.as_str());
    assert_ne!(login["span"]["request_id"], refusals[0]["span"]["request_id"]);
}

/// Returns a program that redirects the daemon's standard error, as `2>FIFO` does in a shell.
fn logging_to(path: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("exec \"$@\" 2>'{}'", path.display())).arg("sh");
    shell
}

#[test]
fn daemon_serves_and_stops_while_log_reader_stalls() {
    let provider = Provider::start();
    let mut monitored = MonitoredDaemon::start(&provider);
    monitored.daemon.stop();
    let fifo = monitored.daemon.directory().join("log");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    // Open for reading and writing, so that neither end blocks. Nothing reads it.
    let mut log = File::options().read(true).write(true).open(&fifo).expect("the FIFO");
    assert!(monitored.daemon.start_under(logging_to(&fifo)), "{}", monitored.daemon.log());

    let (api, path) = (monitored.daemon.api(), "x".repeat(64));
    // Each refusal is a line of more than 100 bytes. A pipe holds 64 kB.
    for _ in 0..1000 {
        assert_eq!(api.get_as("/v1/session", &path).status, 401);
    }
    login::over_http(&monitored.daemon, &provider);
    assert_eq!(monitored.get("/readyz").0, 204);
    assert_eq!(monitored.metric("infrad_log_lines_dropped_total"), Some(0.0), "the queue holds these lines");
    assert_eq!(monitored.daemon.stop(), Some(0));

    let mut written = [0; 4096];
    let length = log.read(&mut written).expect("what was written before");
    assert!(String::from_utf8_lossy(&written[..length]).contains("ready"));
}

#[test]
fn json_log_is_json_from_first_line() {
    let provider = Provider::start();
    let mut entry = ProviderEntry::of(&provider);
    // Makes the daemon warn about the configuration.
    entry.client_secret_reference = Some(format!("plaintext:{}", entry.client_secret));
    let mut daemon = Daemon::start_for(vec![entry], |configuration| {
        configuration.more = "log: {format: json}\n".to_owned();
    });
    daemon.stop();
    let log = daemon.complete_log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty() && !line.starts_with("-- ")).collect();
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert!(log.contains("the configuration contains "), "{log}");
    let ready = lines.iter().find(|line| line.contains("\"ready\"")).expect("it says that it is ready");
    assert!(ready.contains(&daemon.fingerprint()) && ready.contains(&daemon.origin()), "{ready}");
}

#[test]
fn alert_counters_exist_before_first_event() {
    let provider = Provider::start();
    let monitored = MonitoredDaemon::start(&provider);
    for series in [
        "infrad_root_key_missing",
        "infrad_logins_started_total{provider=\"okta\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"denied_by_policy\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"identity_rejected\"}",
        "infrad_revalidations_total{provider=\"okta\",outcome=\"unverified\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"invalid_client\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"client_secret_unavailable\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"provider_unavailable\"}",
        "infrad_logins_total{provider=\"okta\",outcome=\"finished\"}",
        "infrad_revalidations_total{provider=\"okta\",outcome=\"unavailable\"}",
        "infrad_revalidations_total{provider=\"okta\",outcome=\"confirmed\"}",
        "infrad_sessions_ended_total{reason=\"provider_rejected\"}",
        "infrad_certificate_renewal_failures_total{source=\"daemon_ca\"}",
        "infrad_audit_write_failures_total",
        "infrad_store_write_failures_total",
        "infrad_log_lines_dropped_total",
        "infrad_connections_refused_total{limit=\"address\"}",
        "infrad_connections_refused_total{limit=\"connections\"}",
        "infrad_connections_refused_total{limit=\"memory\"}",
    ] {
        assert_eq!(monitored.metric(series), Some(0.0), "{series}\n{}", monitored.metrics());
    }
}

#[test]
fn connections_over_the_address_limit_are_counted_and_logged() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut monitored = MonitoredDaemon::prepare(&provider);
    monitored.daemon.change(|configuration| configuration.more += "limits: {maxConnectionsPerAddress: 2}\n");
    monitored.daemon.start_again();
    login::succeed(&alice, &monitored.daemon, &provider);
    // Connections of the login may take a moment to be closed.
    let refused = wait::until(BOUND, || {
        let connect = || TcpStream::connect(("127.0.0.1", monitored.daemon.port())).expect("a connection");
        let _held = [connect(), connect()];
        Some(alice.infra(["sessions"]).run()).filter(|ran| ran.code != Some(0))
    });
    let ran = refused.expect("a connection was refused").expect(4);
    ran.stderr_contains(&["closed during the TLS handshake", "too many connections", "INFRA_KEY_EXCHANGE"]);
    let refused = monitored.metric("infrad_connections_refused_total{limit=\"address\"}");
    assert!(refused > Some(0.0), "{}", monitored.metrics());
    let log = monitored.daemon.complete_log();
    assert_eq!(log.matches("refused connections: the address has as many").count(), 1, "{log}");
    assert!(log.contains("127.0.0.1") && log.contains("`addresses`"), "{log}");
}

/// Returns the metric names in a text, such as a dashboard, rules, or the metrics themselves.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !is_of_name(character))
        .filter(|word| word.starts_with("infrad_") || word.starts_with("process_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn dashboard_and_rules_use_existing_metrics() {
    let provider = Provider::start();
    let monitored = MonitoredDaemon::start(&provider);
    let token = login::over_http(&monitored.daemon, &provider);
    monitored.daemon.api().delete_as("/v1/session", &token);
    let metrics = monitored.metrics();
    let mut known = names(&metrics);
    // `# TYPE` omits a counter's suffix, and is present even for counters without samples.
    known.extend(metrics.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?;
        Some(format!("{name}_total"))
    }));
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for file in ["monitoring/dashboard.json", "monitoring/rules.yaml", "monitoring.md"] {
        let text = std::fs::read_to_string(documents.join(file)).expect("a document");
        let used = names(&text);
        assert!(used.len() > 5, "{file} asks for nothing");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which is not a metric");
    }
    let dashboard = std::fs::read_to_string(documents.join("monitoring/dashboard.json")).expect("a document");
    serde_json::from_str::<serde_json::Value>(&dashboard).expect("JSON");
}

/// During an outage of the provider, each start still succeeds because its metadata is cached, but no login finishes.
#[test]
fn outage_of_provider_shows_as_logins_without_outcome() {
    let provider = Provider::start();
    let monitored = MonitoredDaemon::start(&provider);
    login::over_http(&monitored.daemon, &provider);
    drop(provider);
    for _ in 0..4 {
        login::Started::at(&monitored.daemon);
    }
    assert_eq!(monitored.metric("infrad_logins_started_total{provider=\"okta\"}"), Some(5.0));
    let outcomes = monitored.metrics();
    let outcomes = outcomes.lines().filter(|line| line.starts_with("infrad_logins_total{provider=\"okta\""));
    let count: f64 = outcomes.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert!((count - 1.0).abs() < f64::EPSILON, "only the login before the outage has an outcome: {count}");
}

#[test]
fn full_disk_shows_before_anyone_signs_in() {
    let provider = Provider::start();
    let Some(view) = View::new() else { return };
    let view = Arc::new(view);
    let mut monitored = MonitoredDaemon::prepare(&provider);
    let disk = monitored.daemon.data_dir();
    std::fs::create_dir(&disk).expect("a directory");
    view.mount_disk(&disk, 2048);
    monitored.daemon.set_view(&view);
    monitored.daemon.start_again();
    view.fill_disk(&disk);
    // Less than the minute between two probes of a disk with room.
    let is_noticed = || (monitored.get("/readyz").0 == 503).then_some(());
    assert!(wait::until(BOUND, is_noticed).is_some(), "{}", monitored.daemon.log());
    let checked = monitored.daemon.infrad(["check"]).wait().expect(1).stdout;
    assert!(checked.contains("failed   disk: room in ") && checked.contains("kB left"), "{checked}");
    // Each operation that needs the disk says which one, whatever it was doing.
    let advice = "try: free space on the file system of `dataDir`: docs/runbooks.md#the-disk-is-full";
    for words in
        [&["backup", "file"][..], &["key", "rewrap"], &["key", "rotate"], &["key", "recovery", "create"]]
    {
        let ran = monitored.daemon.infrad_slice_with_input(words, "").wait().expect(1);
        assert!(ran.stderr.contains(advice), "{words:?}: {ran}");
    }
}

/// Every alert leads to a page and a part of it, and says what is noticed.
#[test]
fn each_alert_names_its_runbook() {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let rules = std::fs::read_to_string(documents.join("monitoring/rules.yaml")).expect("the rules");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15, "{}", alerts.len());
    for alert in alerts {
        let annotation = |name: &str| {
            let line = alert.lines().find_map(|line| line.trim().strip_prefix(name))?.strip_prefix(": ")?;
            Some(line.trim_matches('"').to_owned())
        };
        assert!(annotation("summary").is_some() && alert.contains("severity: "), "{alert}");
        let runbook = annotation("runbook").unwrap_or_else(|| panic!("no runbook: {alert}"));
        let (page, anchor) = runbook.split_once('#').unwrap_or_else(|| panic!("no part of a page: {alert}"));
        assert!(Page::read(page).anchors().contains(anchor), "{runbook}");
    }
}

fn signal(daemon: &Daemon, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(daemon.process()).expect("a process id")).expect("a process");
    kill_process(process, signal).expect("the daemon runs");
}
