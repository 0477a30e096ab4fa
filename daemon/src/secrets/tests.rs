//! The built-in backends with real files and variables.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

async fn read(backends: &Backends, text: &str) -> Result<String, ReadError> {
    let reference = backends.parse(text).expect("a reference");
    backends.read(&reference, ReadReason::Exchange).await.map(|secret| secret.expose_secret().to_owned())
}

#[tokio::test]
async fn each_built_in_backend_reads_its_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    crate::platform::create_file(&path, b"from a file\n", 0o600).expect("a file");
    let backends = Backends::built_in();
    assert_eq!(read(&backends, &format!("file:{}", path.display())).await.expect("a secret"), "from a file");
    assert_eq!(read(&backends, "plaintext:with:colons").await.expect("a secret"), "with:colons");
    // Cargo sets this variable for every test.
    assert_eq!(read(&backends, "env:CARGO_PKG_NAME").await.expect("a secret"), "infra-daemon");
    assert_eq!(backends.reads(ReadReason::Exchange), 3);
}

#[tokio::test]
async fn secret_is_read_at_each_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let backends = Backends::built_in();
    for secret in ["first", "second"] {
        crate::platform::replace_file(&path, secret.as_bytes(), 0o600).expect("a file");
        assert_eq!(read(&backends, &format!("file:{}", path.display())).await.expect("a secret"), secret);
    }
}

#[tokio::test]
async fn read_error_names_the_actual_cause() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let text = format!("file:{}", path.display());
    let backends = Backends::built_in();
    assert!(matches!(read(&backends, &text).await, Err(ReadError::NotFound(_))));
    crate::platform::create_file(&path, b"open", 0o600).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
    assert!(matches!(read(&backends, &text).await, Err(ReadError::NotAllowed(_))));
    crate::platform::replace_file(&path, b"\n", 0o600).expect("a file");
    assert!(matches!(read(&backends, &text).await, Err(ReadError::Malformed(_))));
    crate::platform::replace_file(&path, b"\xff\xfe", 0o600).expect("a file");
    assert!(matches!(read(&backends, &text).await, Err(ReadError::Malformed(_))));
    assert!(matches!(read(&backends, "env:INFRA_NO_SUCH_VARIABLE").await, Err(ReadError::NotFound(_))));
}

#[tokio::test]
async fn declared_backend_decodes_and_stays_in_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    crate::platform::create_file(&directory.path().join("okta"), b"c2VjcmV0\n", 0o600).expect("a file");
    let settings =
        BackendSettings::File { path: Some(directory.path().to_owned()), encoding: Some(Encoding::Base64) };
    let backends = Backends::with(vec![("mounted".to_owned(), settings)]).expect("backends");
    assert_eq!(read(&backends, "mounted:okta").await.expect("a secret"), "secret");
    for text in ["mounted:../okta", "mounted:/etc/passwd", "mounted:"] {
        assert!(matches!(backends.parse(text), Err(ReferenceError::Name(_))), "{text}");
    }
    let error = read(
        &Backends::with(vec![(
            "encoded".to_owned(),
            BackendSettings::Plaintext { encoding: Some(Encoding::Base64Raw) },
        )])
        .expect("backends"),
        "encoded:zebra!",
    )
    .await
    .expect_err("not base64");
    assert!(!error.to_string().contains("zebra"), "{error}");
}

#[test]
fn invalid_reference_is_rejected_without_showing_it() {
    let backends = Backends::built_in();
    assert_eq!(backends.parse("a secret").expect_err("none"), ReferenceError::NoBackend);
    let unknown = backends.parse("secr3t:SECRET").expect_err("none");
    assert!(!unknown.to_string().contains("secr3t"), "it may be the beginning of a secret: {unknown}");
    for text in ["env:", "env:A-B", "env:1A", "file:relative", "plaintext:"] {
        assert!(matches!(backends.parse(text), Err(ReferenceError::Name(_))), "{text}");
    }
}

#[test]
fn plaintext_secret_is_hidden_in_display_and_debug() {
    let declared = vec![("mine".to_owned(), BackendSettings::Plaintext { encoding: None })];
    let backends = Backends::with(declared).expect("backends");
    for text in ["plaintext:canary", "mine:canary"] {
        let reference = backends.parse(text).expect("a reference");
        assert!(!format!("{reference} {reference:?} {backends:?}").contains("canary"));
        assert_eq!(reference.expose().expose_secret(), text);
    }
    assert_eq!(backends.parse("env:NAME").expect("a reference").to_string(), "env:NAME");
}
