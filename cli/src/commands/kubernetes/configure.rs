//! `infra kubernetes configure`: adds a cluster, its user and their context to the kubeconfig.

use std::fs;
use std::path::Path;

use infra_shared::plain_url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::arguments::Configure;
use crate::commands::{Context, session_token};
use crate::failure::{Exit, Failure};
use crate::kubeconfig::{self, Entries, Kubectl};
use crate::platform;
use crate::settings::{self, KubeconfigVariables};

const PROGRAM: &str = "infra";
/// A bundle of all public authorities is smaller.
const MAX_BYTES: u64 = 1024 * 1024;

pub(super) fn run(context: &Context, arguments: &Configure) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let Some(origin) = context.server(None, &state)? else {
        return Err(session_token::no_server(context));
    };
    let words = ["--server", &origin.to_string(), "kubernetes", "token", "--cluster", &arguments.cluster];
    let entries = Entries {
        name: arguments.context.as_ref().unwrap_or(&arguments.cluster).clone(),
        server: server(&arguments.api_server)?,
        authority: arguments.certificate_authority.as_deref().map(authority).transpose()?,
        namespace: arguments.namespace.clone(),
        command: command(context)?,
        arguments: words.map(ToOwned::to_owned).to_vec(),
        variable: (settings::HOME, home(context)?),
        is_current: arguments.r#use,
        is_forced: arguments.force,
    };
    let failed = |reason: &str| {
        Failure::new(Exit::Failed, "cannot change the kubeconfig").because_text(reason.to_owned())
    };
    let Some(program) = context.settings.find_program("kubectl") else {
        context.terminal.data(&entries.to_yaml())?;
        return Err(failed("kubectl is not in PATH").hint(format!(
            "install kubectl, or save the YAML that this command prints as ~/.kube/infra.yaml and run {}",
            platform::SECOND_KUBECONFIG
        )));
    };
    let KubeconfigVariables { is_set, home } = settings::kubeconfig();
    if home.is_none() && !is_set && arguments.kubeconfig.is_none() {
        // Otherwise `kubectl` would write into the working directory.
        return Err(failed("your home directory is not known").hint("set HOME, or use `--kubeconfig`"));
    }
    let kubectl = Kubectl::new(program, arguments.kubeconfig.as_deref(), home);
    // Concurrent runs of `kubectl config` can lose each other's entries.
    context.home.while_kubeconfig_locked(|| kubeconfig::add(&kubectl, &entries))??;
    let uses = match &entries.variable {
        (name, Some(value)) => format!(", which uses {name}={value}"),
        _ => String::new(),
    };
    context.terminal.info(&format!("the kubeconfig now has the context {}{uses}", entries.name));
    Ok(Exit::Done)
}

/// The API server's URL, unchanged. Over plain HTTP, a network attacker could read the token.
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
    let failure = Failure::new(Exit::Usage, "--api-server is not the https address of an API server");
    let failure = if text.starts_with("http://") {
        failure.because_text("over plain HTTP, an attacker on the network could read the token".to_owned())
    } else {
        failure
    };
    Err(failure.hint("use an address such as `https://k8s.example.com:6443`"))
}

/// `INFRA_HOME`, if it is set. A desktop or editor that runs `kubectl` may lack the variable.
fn home(context: &Context) -> Result<Option<String>, Failure> {
    let settings = &context.settings;
    let home = settings.is_home_set.then(|| settings.home.to_str().map(ToOwned::to_owned));
    home.map(|text| {
        text.ok_or_else(|| {
            Failure::new(Exit::Usage, "INFRA_HOME is not valid UTF-8, as a kubeconfig requires")
        })
    })
    .transpose()
}

/// The certificates of a file, in PEM.
fn authority(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str| {
        Failure::new(Exit::Failed, format!("cannot use {} as the certification authority", path.display()))
            .because_text(why.to_owned())
    };
    let size = fs::metadata(path).map_err(|error| failed(&error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(failed("it is larger than 1 MiB"));
    }
    let text = fs::read(path).map_err(|error| failed(&error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    if certificates.map_or(0, |certificates| certificates.len()) == 0 {
        return Err(failed("it contains no certificate in PEM form"));
    }
    if String::from_utf8_lossy(&text).contains("PRIVATE KEY-----") {
        return Err(failed("it contains a private key, which must not be copied into a kubeconfig"));
    }
    Ok(text)
}

/// This program's name if `PATH` contains it, so that an update may move it. Otherwise its path.
fn command(context: &Context) -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Failed, "cannot determine the path of this program").because(&error)
    })?;
    let is_own = context
        .settings
        .find_program(PROGRAM)
        .is_some_and(|file| file.canonicalize().ok() == own.canonicalize().ok());
    if is_own {
        return Ok(PROGRAM.to_owned());
    }
    own.to_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::new(Exit::Failed, "the path of this program is not valid UTF-8"))
}
