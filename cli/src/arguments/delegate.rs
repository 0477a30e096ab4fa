//! Arguments of `infra delegate`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueHint};
use clap_complete::ArgValueCompleter;
use infra_shared::api::is_label;

use super::duration;
use crate::completion;

#[derive(Debug, Args)]
pub struct Delegate {
    /// The audience of a service, or its name; several with commas in between
    #[arg(long = "audience", value_name = "NAME", required = true, value_delimiter = ',')]
    #[arg(add = ArgValueCompleter::new(completion::audiences))]
    pub audiences: Vec<String>,

    /// How long the session lasts, at most as long as yours
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    pub lifetime: Duration,

    /// The label in `infra sessions`, by default the name of the command
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub name: Option<String>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    if lifetime < Duration::from_secs(1) {
        return Err("a session lasts 1s or more".to_owned());
    }
    Ok(lifetime)
}

fn label(text: &str) -> Result<String, String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("a label has 1 to 32 lower-case letters, digits and dashes, such as `nightly-report`".to_owned())
}
