//! A fake of the two services from which programs on AWS get credentials: the container agent, and the
//! instance metadata service (version 2, with its session token).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::moto::AccessKey;

/// The authorization token that the container agent expects.
pub const AUTHORIZATION: &str = "container-authorization-of-the-tests";
const SESSION: &str = "session-of-the-tests";

/// A running service, plain HTTP on loopback like both real ones. It runs until the test process ends.
pub struct AWSMetadata {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl AWSMetadata {
    /// Returns this access key to clients that send the expected token.
    pub fn start(key: &AccessKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (key, noted) = (key.clone(), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(&stream, &key, &noted);
            }
        });
        Self { port, requests }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the requested paths.
    pub fn requested_paths(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: &TcpStream, key: &AccessKey, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let has = |name: &str, value: &str| {
        let is_it = |line: &String| {
            line.split_once(": ")
                .is_some_and(|(header, found)| header.eq_ignore_ascii_case(name) && found == value)
        };
        headers.iter().any(is_it)
    };
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    let credentials = serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key.id, "SecretAccessKey": key.secret,
        "Token": "", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
    });
    let in_session = has("x-aws-ec2-metadata-token", SESSION);
    let (status, body) = match (method, path) {
        ("GET", "/container") if has("authorization", AUTHORIZATION) => ("200 OK", credentials.to_string()),
        ("PUT", "/latest/api/token") => ("200 OK", SESSION.to_owned()),
        ("GET", "/latest/meta-data/iam/security-credentials/") if in_session => {
            ("200 OK", "infrad".to_owned())
        }
        ("GET", "/latest/meta-data/iam/security-credentials/infrad") if in_session => {
            ("200 OK", credentials.to_string())
        }
        ("GET", "/latest/meta-data/placement/region") if in_session => {
            ("200 OK", crate::moto::REGION.to_owned())
        }
        _ if in_session => ("404 Not Found", String::new()),
        _ => ("401 Unauthorized", String::new()),
    };
    let session = if method == "PUT" { "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n" } else { "" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{session}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
