//! Certificate files, replaced in every way that operators and tools do it.

use std::os::unix::fs::symlink;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::super::files::OwnFiles;
use super::super::history::SourceHistory;
use super::super::resolver::Resolver;
use super::*;
use crate::audit::Audit;

struct Pair {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

impl Pair {
    fn new(name: &str) -> Self {
        Self::of(name, (2020, 2099))
    }

    fn of(name: &str, (from, to): (i32, i32)) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    fn write(&self, directory: &Path) {
        std::fs::write(directory.join("tls.crt"), &self.certificate).expect("written");
        write_key(&directory.join("tls.key"), &self.key);
    }
}

/// Writes a key with mode 0600.
fn write_key(path: &Path, key: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.expect("a key").write_all(key.as_bytes()).expect("written");
}

struct Served {
    fixture: Fixture,
    resolver: Arc<Resolver>,
    files: OwnFiles,
}

impl Served {
    /// Serves the files in `directory` below the fixture's.
    async fn from(directory: &str, pair: &Pair) -> Self {
        let fixture = Fixture::new().await;
        let resolver = Resolver::new(fixture.authority(&["infra.test", "other.test"]).await);
        let path = fixture.directory.path().join(directory);
        std::fs::create_dir_all(&path).expect("a directory");
        pair.write(&path);
        let files = Self::open(&fixture, directory, &resolver).await.expect("good files");
        Self { fixture, resolver, files }
    }

    async fn open(fixture: &Fixture, directory: &str, resolver: &Resolver) -> Result<OwnFiles, FilesError> {
        let path = fixture.directory.path().join(directory);
        let files = CertificateFiles {
            certificate: path.join("tls.crt"),
            private_key: path.join("tls.key"),
            is_public: false,
        };
        let hosts = vec!["infra.test".to_owned(), "other.test".to_owned()];
        let history = SourceHistory::new(Source::Files, Audit::none());
        OwnFiles::open(files, hosts, resolver, history, SystemClock.now()).await
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.fixture.directory.path().join(name)
    }

    /// Reads three times, because files must be stable for two reads.
    async fn reload_if_changed(&self) {
        for _ in 0..3 {
            self.files.reload_if_changed(&self.resolver, SystemClock.now()).await;
        }
    }

    fn serves(&self, pair: &Pair) -> bool {
        self.resolver.certificate_for(Some("infra.test"), None).cert[0].as_ref() == pair.der
    }

    fn error(&self) -> String {
        self.files.history.read().last_error.map(|(_, error)| error).unwrap_or_default()
    }
}

#[tokio::test]
async fn overwritten_files_are_loaded() {
    let (first, second) = (Pair::new("infra.test"), Pair::new("infra.test"));
    let served = Served::from("files", &first).await;
    assert!(served.serves(&first));
    served.reload_if_changed().await;
    assert!(served.serves(&first), "nothing has changed");
    second.write(&served.path("files"));
    served.reload_if_changed().await;
    assert!(served.serves(&second));
    let local = served.resolver.certificate_for(Some("other.test"), None);
    assert_ne!(
        local.cert[0].as_ref(),
        second.der,
        "a name that it does not have is served by the own authority"
    );
}

#[tokio::test]
async fn kubernetes_mount_is_loaded_after_link_swap() {
    let (first, second) = (Pair::new("infra.test"), Pair::new("infra.test"));
    let served = Served::from("volume/..first", &first).await;
    let volume = served.path("volume");
    symlink("..first", volume.join("..data")).expect("a link");
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), volume.join(name)).expect("a link");
    }
    let files = Served::open(&served.fixture, "volume", &served.resolver).await.expect("good files");
    let served = Served { files, ..served };
    assert!(served.serves(&first));

    std::fs::create_dir(volume.join("..second")).expect("a directory");
    second.write(&volume.join("..second"));
    symlink("..second", volume.join("..data_new")).expect("a link");
    std::fs::rename(volume.join("..data_new"), volume.join("..data")).expect("swapped");
    std::fs::remove_dir_all(volume.join("..first")).expect("removed");
    served.reload_if_changed().await;
    assert!(served.serves(&second));
    assert_eq!(served.error(), "");
}

#[tokio::test]
async fn invalid_replacement_keeps_current_certificate() {
    let first = Pair::new("infra.test");
    let served = Served::from("files", &first).await;
    let directory = served.path("files");
    let replacements: [(&str, &dyn Fn()); 7] = [
        ("does not belong to the certificate", &|| {
            std::fs::write(directory.join("tls.crt"), Pair::new("infra.test").certificate).expect("written");
        }),
        ("expired", &|| Pair::of("infra.test", (2020, 2021)).write(&directory)),
        ("not valid before", &|| Pair::of("infra.test", (2098, 2099)).write(&directory)),
        ("not for infra.test", &|| Pair::new("elsewhere.test").write(&directory)),
        ("not PEM", &|| {
            std::fs::write(directory.join("tls.crt"), "-----BEGIN CERTIFICATE-----\n!\n").expect("written");
        }),
        ("not a regular file", &|| {
            std::fs::remove_file(directory.join("tls.crt")).expect("removed");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                directory.join("tls.crt"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .expect("a pipe without a writer");
        }),
        ("No such file", &|| {
            std::fs::remove_file(directory.join("tls.crt")).expect("the pipe is removed");
            Pair::new("infra.test").write(&directory);
            std::fs::remove_file(directory.join("tls.key")).expect("removed");
        }),
    ];
    for (count, (words, replace)) in (1..).zip(replacements) {
        replace();
        served.reload_if_changed().await;
        assert!(served.serves(&first), "{words}");
        assert!(served.error().contains(words), "{words}: {}", served.error());
        assert_eq!(served.files.history.read().failures, count, "judged once: {words}");
    }
    let good = Pair::new("infra.test");
    good.write(&directory);
    served.reload_if_changed().await;
    assert!(served.serves(&good));
    assert_eq!(served.error(), "");
}

#[tokio::test]
async fn half_written_replacement_is_not_reported() {
    let (first, second) = (Pair::new("infra.test"), Pair::new("infra.test"));
    let served = Served::from("files", &first).await;
    let directory = served.path("files");
    std::fs::write(directory.join("tls.crt"), &second.certificate).expect("written");
    served.files.reload_if_changed(&served.resolver, SystemClock.now()).await;
    write_key(&directory.join("tls.key"), &second.key);
    served.reload_if_changed().await;
    assert!(served.serves(&second));
    assert_eq!(served.files.history.read().failures, 0);
}

#[tokio::test]
async fn invalid_files_prevent_start() {
    let fixture = Fixture::new().await;
    let resolver = Resolver::new(fixture.authority(&["infra.test"]).await);
    assert!(matches!(Served::open(&fixture, "none", &resolver).await, Err(FilesError::File { .. })));
    let directory = fixture.directory.path().join("files");
    std::fs::create_dir(&directory).expect("a directory");
    Pair::new("elsewhere.test").write(&directory);
    let refused = Served::open(&fixture, "files", &resolver).await.err().expect("refused").to_string();
    assert!(refused.contains("infra.test") && refused.contains("tls.crt"), "{refused}");
    assert!(!refused.contains("PRIVATE"), "{refused}");
}

#[tokio::test]
async fn future_replacement_is_loaded_once_valid() {
    let (first, later) = (Pair::new("infra.test"), Pair::of("infra.test", (2040, 2050)));
    let served = Served::from("files", &first).await;
    later.write(&served.path("files"));
    served.reload_if_changed().await;
    assert!(served.serves(&first));
    assert!(served.error().contains("not valid before"), "{}", served.error());
    let then = "2045-01-01T00:00:00Z".parse().expect("a time");
    assert!(served.files.reload_if_changed(&served.resolver, then).await);
    assert!(served.serves(&later));
}
