//! Scripts rely on `docs/status.schema.json`: the schema accepts every state of `infra status --json`, and
//! rejects everything else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::login;
use infra_harness::program::User;
use infra_harness::provider::Provider;
use serde_json::{Value, json};

/// The published schema. Compiling it shows that it is valid.
struct Published {
    schemas: Schemas,
    index: SchemaIndex,
    text: Value,
}

impl Published {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/status.schema.json");
        let text: Value = serde_json::from_slice(&fs::read(path).expect("the schema")).expect("JSON");
        assert_eq!(text.pointer("/$schema"), Some(&json!("https://json-schema.org/draft/2020-12/schema")));
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource("status.schema.json", text.clone()).expect("a schema");
        let index = compiler.compile("status.schema.json", &mut schemas).expect("a schema of its draft");
        Self { schemas, index, text }
    }

    fn allows(&self, value: &Value) -> Result<(), String> {
        self.schemas.validate(value, self.index).map_err(|error| format!("{error:#}\n{value:#}"))
    }

    #[track_caller]
    fn check(&self, value: Value) -> Value {
        assert_eq!(self.allows(&value), Ok(()));
        value
    }
}

#[test]
fn every_state_matches_the_published_schema() {
    let published = Published::read();
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    let mut seen = BTreeSet::new();
    let mut status = |arguments: &[&str], code: i32, variables: &[(&str, &str)]| {
        let words: Vec<&str> = ["status", "--json"].iter().chain(arguments).copied().collect();
        let call = variables.iter().fold(alice.infra(&words), |call, (name, value)| call.env(name, value));
        let ran = call.run().expect(code);
        let value = published.check(ran.json());
        for report in value["servers"].as_array().unwrap_or(&vec![value.clone()]) {
            for member in ["state", "storage", "checked"] {
                seen.insert(format!("{member} {}", report[member]));
            }
        }
        value
    };
    let as_it_is = [];

    status(&[], 3, &as_it_is);
    assert_eq!(status(&["--all"], 3, &as_it_is), json!({"schema": 1, "servers": []}));
    status(&["infra.example.com"], 3, &as_it_is);
    login::succeed(&alice, &daemon, &provider);
    status(&[], 0, &as_it_is);
    status(&["--offline"], 0, &as_it_is);
    status(&["--all"], 0, &as_it_is);
    let (token, server) = (login::token(&alice), daemon.origin());
    let as_script = [("INFRA_TOKEN", token.as_str()), ("INFRA_SERVER", &server)];
    status(&[], 0, &as_script);
    status(&["--offline"], 4, &as_script);
    alice.edit_session(set("/storage", "file+keyring"));
    status(&[], 0, &as_it_is);
    alice.edit_session(set("/storage", "file"));
    assert!(status(&[], 0, &as_it_is)["pendingSignOutUntil"].is_null());
    daemon.stop();
    status(&[], 4, &as_it_is);
    status(&[], 4, &as_script);
    alice.edit_session(set("/session/idleExpiresAt", "2026-01-01T00:00:00Z"));
    status(&["--offline"], 4, &as_it_is);
    alice.edit_session(set("/session/expiresAt", "2026-01-01T00:00:00Z"));
    status(&["--offline"], 3, &as_it_is);
    status(&[], 3, &as_it_is);
    daemon.start_again();
    alice.infra(["logout"]).run().expect(0);
    status(&[], 3, &as_it_is);
    status(&[], 3, &as_script);
    login::succeed(&alice, &daemon, &provider);
    assert_eq!(daemon.api().delete_as("/v1/session", &login::token(&alice)).status, 204);
    status(&[], 3, &as_it_is);
    status(&["--offline"], 3, &as_it_is);
    login::succeed(&alice, &daemon, &provider);
    daemon.stop();
    alice.infra(["logout"]).run().expect(7);
    assert!(status(&["--offline"], 3, &as_it_is)["pendingSignOutUntil"].is_string());
    daemon.start_again();
    login::succeed(&alice, &daemon, &provider);
    let impostor = Impostor::start(Disguise::OtherAuthority, &Authority::new());
    for file in ["config.json", "sessions.json"] {
        let text = alice.file(file).expect("a file").replace(&daemon.origin(), &impostor.origin());
        fs::write(alice.infra_home().join(file), text).expect("the user's own file");
    }
    status(&[], 5, &as_it_is);
    status(&["--all"], 5, &as_it_is);

    let properties = &published.text["$defs"]["status"]["properties"];
    let promised: BTreeSet<String> = ["state", "storage", "checked"]
        .iter()
        .flat_map(|member| {
            properties[member]["enum"].as_array().into_iter().flatten().map(move |value| (member, value))
        })
        .map(|(member, value)| format!("{member} {value}"))
        .collect();
    assert_eq!(seen, promised, "what was seen, and what the schema promises");
}

#[test]
fn schema_rejects_missing_added_and_mistyped_members() {
    let published = Published::read();
    let active = active();
    published.check(active.clone());
    published.check(json!({"schema": 1, "servers": [active.clone(), active.clone()]}));

    let mut refused = 0;
    let mut refuse = |what: String, value: &Value| {
        assert!(published.allows(value).is_err(), "{what} is allowed");
        assert!(
            published.allows(&json!({"schema": 1, "servers": [value]})).is_err(),
            "{what} is allowed in `--all`"
        );
        refused += 1;
    };
    for object in ["", "/user", "/session"] {
        let members: Vec<String> =
            active.pointer(object).and_then(Value::as_object).expect("an object").keys().cloned().collect();
        for member in members {
            let changed = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                let mut value = active.clone();
                change(value.pointer_mut(object).and_then(Value::as_object_mut).expect("an object"));
                value
            };
            refuse(format!("without {object}/{member}"), &changed(&|map| drop(map.remove(&member))));
            refuse(format!("{object}/{member}: true"), &changed(&|map| map[&member] = true.into()));
            refuse(format!("{object}/{member}: {{}}"), &changed(&|map| map[&member] = json!({})));
            refuse(
                format!("more in {object}"),
                &changed(&|map| drop(map.insert(format!("{member}2"), json!(1)))),
            );
        }
    }
    for (pointer, value) in [
        ("/schema", json!(2)),
        ("/state", json!("valid")),
        ("/server", json!("http://infra.example.com")),
        ("/session/id", json!("f3Kd9sQ1Z")),
        ("/session/createdAt", json!("yesterday")),
        ("/session/expiresAt", json!("2026-11-23T20:00:00+01:00")),
        ("/session/secondsLeft", json!(-1)),
        ("/session/secondsLeft", json!(1.5)),
        ("/session/secondsLeft", Value::Null),
        ("/session", Value::Null),
        ("/user", Value::Null),
        ("/state", json!("logged_out")),
        ("/state", json!("expired")),
        ("/state", json!("unreachable")),
    ] {
        let mut changed = active.clone();
        *changed.pointer_mut(pointer).expect("it is there") = value.clone();
        refuse(format!("{pointer}: {value}"), &changed);
    }
    assert!(refused > 80, "{refused}");
}

/// The example in the documentation.
fn active() -> Value {
    json!({
        "schema": 1, "state": "active", "server": "https://infra.example.com", "trust": "pinned",
        "user": {
            "name": "Alice", "email": "alice@example.com", "groups": ["engineering"], "provider": "okta",
            "issuer": "https://example.okta.com", "subject": "00u1",
        },
        "session": {
            "id": "f3Kd9sQ1Zx", "createdAt": "2026-11-23T08:00:00Z", "expiresAt": "2026-11-23T20:00:00Z",
            "idleExpiresAt": "2026-11-23T12:00:00Z", "delegation": null, "secondsLeft": 14392,
        },
        "storage": "file", "checked": "online", "clockOffsetSeconds": 0, "pendingSignOutUntil": null,
    })
}

/// Writes a text into a member of the stored session.
fn set(member: &str, text: &str) -> impl FnOnce(&mut Value) {
    move |session| *session.pointer_mut(member).expect("a member of the session") = text.into()
}
