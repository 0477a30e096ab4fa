//! Where a job or a pod finds the ID token of its platform.

use std::ffi::OsString;
use std::path::PathBuf;

use infra_shared::plain_url;
use secrecy::SecretString;
use url::Url;

use super::absolute;
use crate::failure::{Exit, Failure};

pub(super) const TOKEN: &str = "INFRA_ID_TOKEN";
pub(super) const FILE: &str = "INFRA_ID_TOKEN_FILE";
/// GitHub sets both in a job with the permission `id-token: write`.
pub(super) const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub(super) const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

#[derive(Debug)]
pub enum IDTokenSource {
    /// `INFRA_ID_TOKEN`, which GitLab sets.
    Variable(SecretString),
    /// `INFRA_ID_TOKEN_FILE`: a token that Kubernetes mounts.
    File(PathBuf),
    /// Asks GitHub Actions with the token of the job.
    GitHub { url: Url, token: SecretString },
}

/// Finds the source in the variables. An empty variable of this program is an error, because its value is probably missing.
pub(super) fn find(find: impl Fn(&str) -> Option<OsString>) -> Result<Option<IDTokenSource>, Failure> {
    for name in [TOKEN, FILE] {
        if find(name).is_some_and(|value| value.is_empty()) {
            let failure = Failure::new(Exit::Usage, format!("{name} is set, but empty"));
            return Err(failure.hint(format!("set {name} to its value, or unset it")));
        }
    }
    let text = |name: &str| {
        let value = find(name).filter(|value| !value.is_empty());
        value
            .map(|value| {
                value
                    .into_string()
                    .map_err(|_| Failure::new(Exit::Usage, format!("{name} is not valid UTF-8")))
            })
            .transpose()
    };
    match (text(TOKEN)?, find(FILE)) {
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Usage, format!("{TOKEN} and {FILE} are both set"))
                .hint("unset one of them"))
        }
        (Some(token), None) => Ok(Some(IDTokenSource::Variable(token.trim().into()))),
        (None, Some(path)) => Ok(Some(IDTokenSource::File(absolute(FILE, path)?))),
        (None, None) => match (text(GITHUB_URL)?, text(GITHUB_TOKEN)?) {
            (Some(url), Some(token)) => {
                let url = plain_url::parse(&url).filter(|url| url.scheme() == "https");
                let url = url.ok_or_else(|| {
                    Failure::new(Exit::Usage, format!("{GITHUB_URL} is not an https address"))
                })?;
                Ok(Some(IDTokenSource::GitHub { url, token: token.into() }))
            }
            _ => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const PATH: &str = if cfg!(windows) { r"C:\token" } else { "/run/token" };

    fn of(variables: &[(&str, &str)]) -> Result<Option<IDTokenSource>, Failure> {
        find(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn id_token_source_is_found_in_order() {
        let github = [(GITHUB_URL, "https://runner.test/?a=b"), (GITHUB_TOKEN, "secret")];
        assert!(matches!(of(&github), Ok(Some(IDTokenSource::GitHub { .. }))));
        let both = [github[0], github[1], (TOKEN, " a.b.c\n")];
        let Ok(Some(IDTokenSource::Variable(token))) = of(&both) else { panic!("the own variable counts") };
        assert_eq!(token.expose_secret(), "a.b.c");
        assert!(matches!(of(&[(FILE, PATH)]), Ok(Some(IDTokenSource::File(_)))));
        for variables in [&[][..], &github[..1], &github[1..], &[(GITHUB_URL, ""), (GITHUB_TOKEN, "")]] {
            assert!(matches!(of(variables), Ok(None)), "{variables:?}");
        }
    }

    #[test]
    fn invalid_id_token_variable_is_named_and_hidden() {
        for variables in [
            &[(TOKEN, "")][..],
            &[(FILE, "")],
            &[(FILE, "canary")],
            &[(TOKEN, "canary"), (FILE, PATH)],
            &[(GITHUB_URL, "http://canary.test"), (GITHUB_TOKEN, "canary")],
        ] {
            let failure = of(variables).expect_err("invalid");
            assert_eq!(failure.exit(), Exit::Usage);
            let shown = format!("{failure:?}");
            assert!(shown.contains(variables[0].0) && !shown.contains("canary"), "{shown}");
        }
    }
}
