//! moto: the AWS services that store secrets and root keys, with checks of signatures and policies.

use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::http::{self, Limits, Trust, Way};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

pub const REGION: &str = "us-west-2";
/// Start timeout for a busy machine, because moto imports all services.
const READY: Duration = Duration::from_mins(1);

/// A running server, stopped when dropped.
pub struct Moto {
    ports: Ports,
    client: Client,
    _running: Running,
}

/// The access key of a user.
#[derive(Debug, Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl Moto {
    /// Starts moto without authentication. Returns `None` and reports a skip if it is not installed.
    pub fn start() -> Option<Self> {
        let program = peers::find("moto", "bin/moto_server")?.join("bin/moto_server");
        let ports = Ports::reserve(1);
        let mut command = Command::new(program);
        command
            .args(["-H", "127.0.0.1", "-p", &ports.all()[0].to_string()])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null());
        let mut running = Running::start(command, "moto_server".to_owned(), None, READY);
        // Plain HTTP on loopback. The first request to a service loads it.
        let limits = Limits { connect: Duration::from_secs(3), total: 2 * READY };
        let client = http::blocking_client(&Trust::Authorities(Vec::new()), limits, true, Way::Direct)
            .expect("a client");
        let health = format!("http://127.0.0.1:{}/moto-api/data.json", ports.all()[0]);
        let ready = wait::until(READY, || {
            assert!(running.is_running(), "moto ended at once\n{}", running.output());
            client.get(&health).send().is_ok_and(|answer| answer.status().is_success()).then_some(())
        });
        assert!(ready.is_some(), "moto never became ready\n{}", running.output());
        Some(Self { ports, client, _running: running })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.all()[0])
    }

    /// Calls an operation of the JSON protocol without a signature, which works until
    /// [`Self::check_signatures`].
    #[track_caller]
    pub fn call(&self, target: &str, body: &Value) -> Value {
        let (status, text) = self.try_call(target, body);
        assert_eq!(status, 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Like [`Self::call`], but accepts any response.
    pub fn try_call(&self, target: &str, body: &Value) -> (u16, String) {
        let service = match target.split('.').next() {
            Some("TrentService") => "kms",
            Some("AmazonSSM") => "ssm",
            _ => "secretsmanager",
        };
        let request = self
            .client
            .post(self.endpoint())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("authorization", authorization(service))
            .body(body.to_string());
        let answer = request.send().unwrap_or_else(|error| panic!("{target}: {error}"));
        (answer.status().as_u16(), answer.text().unwrap_or_default())
    }

    /// Creates a user with the permissions of `statement` (an IAM statement), and an access key.
    pub fn user(&self, name: &str, statement: &Value) -> AccessKey {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]);
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        self.iam(&[
            ("Action", "PutUserPolicy"),
            ("UserName", name),
            ("PolicyName", "policy"),
            ("PolicyDocument", &policy),
        ]);
        let answer = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]);
        let element = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).expect("an element");
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        AccessKey { id: element("AccessKeyId"), secret: element("SecretAccessKey") }
    }

    /// Makes the server check every later request: signature, access key and policy.
    pub fn check_signatures(&self) {
        let url = format!("{}/moto-api/reset-auth", self.endpoint());
        let answer = self.client.post(url).body("0").send().expect("moto answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let request =
            self.client.post(self.endpoint()).header("authorization", authorization("iam")).form(parameters);
        let answer = request.send().expect("moto answers");
        let (status, text) = (answer.status(), answer.text().unwrap_or_default());
        assert!(status.is_success(), "{parameters:?}: {status} {text}");
        text
    }
}

/// The credential scope selects the service.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20261124/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}
