//! `infra kubernetes configure`: a cluster, its user and their context in the kubeconfig.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::plain_url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::arguments::Configure;
use crate::commands::Context;
use crate::failure::{Exit, Failure};
use crate::kubeconfig::{self, Files, Wanted};
use crate::settings;

const PROGRAM: &str = "infra";
const INSTALL_HINT: &str =
    "`infra` gets the token for this cluster. Install it, and sign in once with `infra login`.";
/// A bundle of public authorities is smaller.
const MOST_BYTES: u64 = 1024 * 1024;

pub(super) fn run(context: &Context, arguments: &Configure) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let Some(origin) = context.server(None, &state)? else {
        return Err(Failure::new(Exit::LoginNeeded, "no server is known here").hint("`infra login SERVER`"));
    };
    let words = ["--server", &origin.to_string(), "kubernetes", "token", "--cluster", &arguments.cluster];
    let name = arguments.context.as_deref().unwrap_or(&arguments.cluster);
    let wanted = Wanted {
        name: name.to_owned(),
        server: server(&arguments.api_server)?,
        authority: arguments.certificate_authority.as_deref().map(authority).transpose()?,
        namespace: arguments.namespace.clone(),
        command: command(context)?,
        arguments: words.map(ToOwned::to_owned).to_vec(),
        variable: (settings::HOME, home(context)?),
        install_hint: INSTALL_HINT.to_owned(),
        is_current: arguments.r#use,
        is_forced: arguments.force,
    };
    let variables = settings::kubeconfig();
    let files = Files::find(arguments.kubeconfig.clone(), variables.list.as_deref(), variables.home)
        .ok_or_else(|| {
            Failure::new(Exit::Failed, "your home directory is not known").hint("set HOME, or `--kubeconfig`")
        })?;
    let done = kubeconfig::add(&files, &wanted)?;
    for path in &done.copies {
        context.terminal.warn(&format!(
            "comments within the entries that were replaced are lost: the file as it was is kept as {}",
            path.display()
        ));
    }
    for path in &done.changed {
        context.terminal.say(&format!("{}: the context {name} is there now", path.display()));
    }
    if done.changed.is_empty() {
        context.terminal.say(&format!("the context {name} is there already"));
    }
    Ok(Exit::Done)
}

/// The API server's URL, as it was typed. Over plain HTTP, anybody on the way would get the token.
fn server(text: &str) -> Result<String, Failure> {
    let is_good = plain_url::parse(text).is_some_and(|url| {
        url.scheme() == "https"
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if is_good {
        return Ok(text.to_owned());
    }
    let failure = Failure::new(Exit::Usage, "--api-server is no https address of an API server");
    let failure = if text.starts_with("http://") {
        failure.because_text("over plain HTTP, anybody on the way would get the token".to_owned())
    } else {
        failure
    };
    Err(failure.hint("an address such as `https://k8s.example.com:6443`"))
}

/// The directory of the session, where it is not the usual one. A desktop or an editor that runs `kubectl` may not have the
/// variable.
fn home(context: &Context) -> Result<Option<String>, Failure> {
    let settings = &context.settings;
    let home = settings.is_home_set.then(|| settings.home.to_str().map(ToOwned::to_owned));
    home.map(|text| {
        text.ok_or_else(|| Failure::new(Exit::Usage, "INFRA_HOME is not text, as a kubeconfig is"))
    })
    .transpose()
}

/// The certificates of a file, as a kubeconfig carries them.
fn authority(path: &Path) -> Result<String, Failure> {
    let failed = |why: &str| {
        Failure::new(Exit::Failed, format!("{} cannot be used as certification authority", path.display()))
            .because_text(why.to_owned())
    };
    let size = fs::metadata(path).map_err(|error| failed(&error.to_string()))?.len();
    if size > MOST_BYTES {
        return Err(failed("it is too large"));
    }
    let text = fs::read(path).map_err(|error| failed(&error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    if certificates.map_or(0, |certificates| certificates.len()) == 0 {
        return Err(failed("there is no certificate in PEM in it"));
    }
    if String::from_utf8_lossy(&text).contains("PRIVATE KEY-----") {
        return Err(failed("there is a private key in it, which belongs into no kubeconfig"));
    }
    Ok(BASE64_STANDARD.encode(text))
}

/// The name of this program where `PATH` leads to it, so that an update may move it; else its place.
fn command(context: &Context) -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Failed, "the place of this program is not known").because(&error)
    })?;
    let path = context.settings.path.as_deref();
    let found = path.map(std::env::split_paths).into_iter().flatten().map(|folder| folder.join(PROGRAM));
    let first = found.filter(|file| file.is_absolute()).find(|file| file.is_file());
    let is_own = first.is_some_and(|file| file.canonicalize().ok() == own.canonicalize().ok());
    if is_own {
        return Ok(PROGRAM.to_owned());
    }
    own.to_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::new(Exit::Failed, "this program lies in a folder whose name is not text"))
}
