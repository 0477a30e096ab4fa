//! A release as `deploy/release` makes it of what the workflow's jobs build: workflow, archives, manifests and install
//! script use the same names. Linters check the workflows, which never run here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use infra_harness::peers;
use infra_harness::program::{Ran, Running};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::debian::workspace;

const BOUND: Duration = Duration::from_mins(2);
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The repository in manifests that are not downloaded from.
const REPOSITORY: &str = "https://code.example.com/example/infra";

/// What the jobs of the workflow leave behind, with a stand-in for each client, and a key for signatures.
pub(crate) struct Release {
    folder: TempDir,
}

impl Release {
    /// Prepares the builds. `program` is every client. Returns `None` if this machine lacks a program for it.
    pub(crate) fn prepare(program: &str) -> Option<Self> {
        for tool in ["zip", "unzip", "openssl"] {
            peers::find_program(tool)?;
        }
        let release = Self { folder: TempDir::with_prefix("infra-release-").expect("a temporary directory") };
        for triple in triples("clients") {
            let name = if triple.contains("windows") { "infra.exe" } else { "infra" };
            let folder = release.path(&format!("built/program-{triple}"));
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(name), program).expect("a program");
        }
        // A placeholder for the tarball of both programs, with `infra` at the same place.
        fs::write(release.path("infra"), program).expect("a program");
        for triple in triples("packages") {
            let folder = release.path(&format!("built/packages-{triple}"));
            let mut command = Command::new(workspace().join("deploy/packages"));
            command.arg("--client").arg(triple).arg(release.path("infra")).arg(&folder);
            run(command).expect(0);
            write_and_sum(&folder, &format!("infra-{VERSION}.tgz"), "a chart");
        }
        release.make_key("key.pem");
        release.write_page("key.pem");
        Some(release)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates a key pair, with the public key in `NAME.pub`.
    pub(crate) fn make_key(&self, name: &str) {
        let made = format!(
            "openssl ecparam -name prime256v1 -genkey -noout -out {name} && openssl pkey -in {name} -pubout -out {name}.pub"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &made]).current_dir(self.folder.path());
        run(command).expect(0);
    }

    /// Writes the page that shows this public key, as one would into a list of a Markdown page.
    fn write_page(&self, key: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).expect("a key");
        let indented = public.lines().flat_map(|line| ["  ", line, "\n"]).collect::<String>();
        fs::write(self.path("page.md"), format!("The key:\n\n  ```\n{indented}  ```\n")).expect("a page");
    }

    /// Runs `deploy/release`, with the private key in this file, or unsigned.
    pub(crate) fn make(&self, repository: &str, key: Option<&str>) -> Ran {
        match key {
            Some(key) => {
                let key = fs::read_to_string(self.path(key)).expect("a key");
                self.make_with(repository, &[("RELEASE_SIGNING_KEY", &key)])
            }
            None => self.make_with(repository, &[("RELEASE_SIGNING_KEY", ""), ("UNSIGNED_RELEASE", "1")]),
        }
    }

    fn make_with(&self, repository: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(workspace().join("deploy/release"));
        command.arg(self.path("built")).arg(self.path("made")).arg(repository);
        command.arg(self.path("key.pem.pub")).arg(self.path("page.md"));
        command.env_remove("RELEASE_SIGNING_KEY").env_remove("UNSIGNED_RELEASE");
        command.envs(variables.iter().copied());
        run(command)
    }

    /// The text of a file that `deploy/release` wrote.
    fn made(&self, name: &str) -> String {
        fs::read_to_string(self.path("made").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names of the archives.
    fn archives(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("made")).expect("a release").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut archives: Vec<String> =
            names.filter(|name| is_zip(name) || name.ends_with(".tar.gz")).collect();
        archives.sort();
        archives
    }

    /// The paths in an archive.
    fn contents(&self, archive: &str) -> Vec<String> {
        let (program, option) = if is_zip(archive) { ("unzip", "-Z1") } else { ("tar", "-tzf") };
        let mut command = Command::new(program);
        command.arg(option).arg(self.path("made").join(archive));
        run(command).expect(0).stdout.lines().map(str::to_owned).collect()
    }
}

/// Writes a file of a job, and that job's checksums.
fn write_and_sum(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
    let sum = "rm -f SHA256SUMS; sums=$(sha256sum -- *) && printf '%s\n' \"$sums\" >SHA256SUMS";
    let mut command = Command::new("sh");
    command.args(["-c", sum]).current_dir(folder);
    run(command).expect(0);
}

fn run(mut command: Command) -> Ran {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    Running::start(command, name, None, BOUND).wait()
}

/// The platforms of a job of the workflow.
pub(crate) fn triples(job: &str) -> Vec<String> {
    let workflow = fs::read_to_string(workspace().join(".github/workflows/release.yml")).expect("a workflow");
    let (_, job) = workflow.split_once(&format!("\n  {job}:\n")).expect("a job");
    let steps = job.find("    steps:\n").expect("its steps");
    let found = job[..steps].lines().filter_map(|line| line.trim().strip_prefix("- triple: "));
    let triples: Vec<String> = found.map(str::to_owned).collect();
    assert!(!triples.is_empty(), "{job}");
    triples
}

fn is_zip(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "zip")
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

const FORMULA: &str = "manifests/homebrew/infra.rb";
const SCOOP: &str = "manifests/scoop/infra.json";
const WINGET: &str = "manifests/winget/example.Infra.installer.yaml";

#[test]
fn manifests_name_archives_of_workflow_with_checksums() {
    let Some(release) = Release::prepare("a program") else { return };
    release.make(REPOSITORY, Some("key.pem")).expect(0);
    let archives = release.archives();
    assert_eq!(archives.len(), triples("clients").len() + triples("packages").len(), "{archives:?}");
    let mut named = Vec::new();
    for manifest in [FORMULA, SCOOP, WINGET] {
        let text = release.made(manifest);
        let words: Vec<&str> = text.split(['"', ' ', '\n']).collect();
        let prefix = format!("{REPOSITORY}/releases/download/v{VERSION}/");
        let files: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix(&prefix)).collect();
        let is_sum = |word: &&&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sums: Vec<&str> = words.iter().filter(is_sum).copied().collect();
        assert!(!files.is_empty() && files.len() == sums.len(), "{manifest}: {text}");
        for (file, sum) in files.iter().zip(sums) {
            assert_eq!(sha256(&fs::read(release.path("made").join(file)).expect(file)), sum, "{file}");
        }
        named.extend(files.into_iter().map(str::to_owned));
    }
    named.sort();
    named.dedup();
    // The install script alone uses the programs for musl: tests/packages/install_script.rs.
    let rest: Vec<&String> = archives.iter().filter(|name| !named.contains(name)).collect();
    assert!(rest.len() == 2 && rest.iter().all(|name| name.contains("musl")), "{rest:?}");
}

#[test]
fn manifests_name_files_inside_archives() {
    let Some(release) = Release::prepare("a program") else { return };
    release.make(REPOSITORY, None).expect(0);
    let scoop: serde_json::Value = serde_json::from_str(&release.made(SCOOP)).expect("JSON");
    let winget = release.made(WINGET);
    for (of_scoop, triple) in [("64bit", "x86_64-pc-windows-msvc"), ("arm64", "aarch64-pc-windows-msvc")] {
        let archive = format!("infra-{VERSION}-{triple}.zip");
        let contents = release.contents(&archive);
        let folder = scoop["architecture"][of_scoop]["extract_dir"].as_str().expect("a folder");
        let program = scoop["bin"].as_str().expect("a program").replace('\\', "/");
        assert!(contents.contains(&format!("{folder}/{program}")), "{contents:?}");
        let path = format!("infra-{VERSION}-{triple}/bin/infra.exe");
        assert!(contents.contains(&path), "{contents:?}");
        assert!(winget.contains(&format!("RelativeFilePath: {}\n", path.replace('/', "\\"))), "{winget}");
    }
    let formula = release.made(FORMULA);
    for archive in release.archives().iter().filter(|name| name.ends_with(".tar.gz")) {
        let contents = release.contents(archive);
        let folder = archive.trim_end_matches(".tar.gz");
        for path in [
            "bin/infra",
            "share/completions/infra.bash",
            "share/completions/_infra",
            "share/completions/infra.fish",
        ] {
            assert!(contents.contains(&format!("{folder}/{path}")), "{archive}: {path}");
            assert!(formula.contains(&format!("\"{path}\"")), "{path}");
        }
        assert!(contents.contains(&format!("{folder}/share/man/man1/infra.1")), "{archive}");
    }
}

#[test]
fn client_archives_are_the_same_bytes_twice() {
    let Some(release) = Release::prepare("a program") else { return };
    release.make(REPOSITORY, None).expect(0);
    let first = release.made("SHA256SUMS");
    fs::remove_dir_all(release.path("made")).expect("a release");
    for triple in triples("clients") {
        // Built later, and downloaded without the right to run it.
        for entry in fs::read_dir(release.path(&format!("built/program-{triple}"))).expect("a program") {
            let path = entry.expect("a program").path();
            let program = fs::read(&path).expect("a program");
            fs::remove_file(&path).expect("a program");
            fs::write(&path, program).expect("a program");
        }
    }
    release.make(REPOSITORY, None).expect(0);
    assert_eq!(release.made("SHA256SUMS"), first);
}

#[test]
fn release_without_key_lacks_signature_and_install_script() {
    let Some(release) = Release::prepare("a program") else { return };
    release.make(REPOSITORY, None).expect(0).stderr_contains(&["skipped: RELEASE_SIGNING_KEY is empty"]);
    for name in ["SHA256SUMS.sig", "install.sh"] {
        assert!(!release.path("made").join(name).exists(), "{name}");
    }
    release.make_key("other.pem");
    let ran = release.make(REPOSITORY, Some("other.pem"));
    ran.expect(1).stderr_contains(&["RELEASE_SIGNING_KEY is not the private key of"]);
    assert!(!release.path("made/install.sh").exists());
}

#[test]
fn release_without_key_fails_unless_it_is_asked_for() {
    let Some(release) = Release::prepare("a program") else { return };
    for variables in [&[][..], &[("RELEASE_SIGNING_KEY", "")], &[("UNSIGNED_RELEASE", "")]] {
        let ran = release.make_with(REPOSITORY, variables);
        ran.expect(1).stderr_contains(&["RELEASE_SIGNING_KEY is empty: set it, or set UNSIGNED_RELEASE=1"]);
        assert!(!release.path("made/manifests").exists());
    }
}

#[test]
fn release_is_signed_only_if_page_shows_its_key() {
    let Some(release) = Release::prepare("a program") else { return };
    release.make_key("other.pem");
    let refused = |what: &str| {
        let ran = release.make(REPOSITORY, Some("key.pem"));
        ran.expect(1).stderr_contains(&["page.md lacks the key of", "key.pem.pub"]);
        for name in ["SHA256SUMS.sig", "install.sh"] {
            assert!(!release.path("made").join(name).exists(), "{what}: {name}");
        }
    };
    release.write_page("other.pem");
    refused("another key");
    let page = fs::read_to_string(release.path("page.md")).expect("a page");
    let (half, _) = page.split_at(page.len() / 2);
    fs::write(release.path("page.md"), half).expect("a page");
    refused("half a key");
    release.write_page("key.pem");
    release.make(REPOSITORY, Some("key.pem")).expect(0);
}

#[test]
fn release_refuses_builds_that_disagree_or_are_missing() {
    let Some(release) = Release::prepare("a program") else { return };
    let folder = release.path("built/packages-x86_64-unknown-linux-gnu");
    let chart = format!("infra-{VERSION}.tgz");
    write_and_sum(&folder, &chart, "another chart");
    release.make(REPOSITORY, None).expect(1).stderr_contains(&["two jobs built", &chart]);
    // Changed after its job summed it up.
    fs::write(folder.join(&chart), "a chart").expect("a file");
    release.make(REPOSITORY, None).expect(1);
    write_and_sum(&folder, &chart, "a chart");
    release.make(REPOSITORY, None).expect(0);

    fs::remove_dir_all(release.path("made")).expect("a release");
    fs::remove_dir_all(release.path("built/program-aarch64-apple-darwin")).expect("a program");
    let ran = release.make(REPOSITORY, None);
    ran.expect(1).stderr_contains(&["homebrew.rb needs", "aarch64-apple-darwin"]);
}

#[test]
fn signing_without_certificate_is_skipped_with_message() {
    for (system, variable) in [("macos", "MACOS_CERTIFICATE"), ("windows", "WINDOWS_CERTIFICATE")] {
        let mut command = Command::new(workspace().join("deploy/sign"));
        command.args([system, "a-program"]).env(variable, "").env("GITHUB_ACTIONS", "true");
        let ran = run(command).expect(0);
        let said = format!("::warning title=unsigned::skipped: {variable} is empty, so a-program");
        assert!(ran.stdout.starts_with(&said), "{ran}");
    }
}

#[test]
fn workflows_pass_linters() {
    let Some(linters) = peers::find("linters", "bin/zizmor") else { return };
    if peers::find_program("shellcheck").is_none() {
        return;
    }
    // It checks the scripts in the workflows with shellcheck.
    let mut command = Command::new(linters.join("bin/actionlint"));
    command.arg("-no-color").args(workflows()).current_dir(workspace());
    run(command).expect(0);
    let mut command = Command::new(linters.join("bin/zizmor"));
    command.args(["--offline", "--no-progress", "--persona", "auditor"]).args(workflows());
    command.current_dir(workspace());
    run(command).expect(0);
}

#[test]
fn workflows_pin_actions_by_commit_and_say_they_never_ran() {
    let mut actions = 0;
    for path in workflows() {
        let text = fs::read_to_string(&path).expect("a workflow");
        assert!(text.lines().take(3).any(|line| line.contains("Never run")), "{}", path.display());
        for line in text.lines().filter(|line| line.contains("uses:")) {
            let (_, pinned) = line.split_once('@').expect("a version");
            let (commit, version) = pinned.split_once(" # v").expect("its name");
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit && version.split('.').count() == 3, "{line}");
            assert!(line.contains("uses: actions/"), "{line}: an action of a third party");
            actions += 1;
        }
    }
    assert!(actions > 5, "{actions}");
}

fn workflows() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join(".github/workflows")).expect("workflows").flatten();
    let workflows: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    assert!(workflows.len() >= 2, "{workflows:?}");
    workflows
}

#[test]
fn shell_scripts_pass_shellcheck() {
    let Some(shellcheck) = peers::find_program("shellcheck") else { return };
    let mut scripts = Vec::new();
    let mut folders: Vec<PathBuf> =
        [".ci", "deploy", "docs", "tests"].iter().map(|folder| workspace().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path)
                && ["#!/usr/bin/env bash\n", "#!/bin/sh\n"].iter().any(|first| text.starts_with(first))
            {
                scripts.push(path);
            }
        }
    }
    assert!(scripts.len() > 15, "{scripts:?}");
    let mut command = Command::new(shellcheck);
    command.args(["--format", "gcc"]).args(scripts);
    run(command).expect(0);
}
