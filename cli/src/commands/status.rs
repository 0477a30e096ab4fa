//! `infra status`: shows the account at each server and when the session expires.

mod look;
mod mirror;
mod newer;
mod text;

use std::collections::BTreeSet;

use infra_shared::origin::Origin;
use serde::Serialize;

use super::{Context, at_once};
use crate::arguments::Status;
use crate::failure::{Exit, Failure};
use mirror::Mirror;

pub(super) use look::{Look, Report, State, look};
pub(super) use newer::{from, tell_of_newer};
pub(super) use text::account;

/// Output of `status --all --json`.
#[derive(Serialize)]
struct All {
    schema: u32,
    servers: Vec<look::Json>,
}

pub(super) fn run(context: &Context, arguments: &Status) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let how = if arguments.offline { Look::Offline } else { Look::Online };
    if arguments.all {
        // `INFRA_TOKEN` belongs only to the server that was named with it.
        let token = context.settings.token.as_ref();
        let named = context.server(None, &state)?.filter(|_| token.is_some());
        let mut servers: BTreeSet<&Origin> =
            state.config.servers.keys().chain(state.sessions.sessions.keys()).collect();
        servers.extend(&named);
        let mirrors: Vec<Mirror> =
            servers.iter().map(|origin| Mirror::begin(context, arguments, &state, origin)).collect();
        let servers: Vec<&Origin> = servers.into_iter().collect();
        let mut reports = at_once::for_each(&servers, |origin| {
            look(context, origin, &state, token.filter(|_| named.as_ref() == Some(*origin)), how)
        });
        for (mirror, report) in mirrors.into_iter().zip(&mut reports) {
            mirror.settle(report, context.terminal);
        }
        let exit = reports
            .iter()
            .map(Report::exit)
            .find(|exit| *exit != Exit::Done)
            .unwrap_or(if reports.is_empty() { Exit::LoginNeeded } else { Exit::Done });
        if arguments.json {
            let servers = reports.iter().map(Report::json).collect();
            context.terminal.json(&All { schema: 1, servers })?;
        } else if !context.terminal.quiet {
            let mut texts: Vec<String> =
                reports.iter().map(|report| text::of(report, context.now())).collect();
            if texts.is_empty() {
                texts.push(text::of(&Report::of_no_server(), context.now()));
            }
            context.terminal.report(&texts.join("\n"))?;
        }
        if context.terminal.quiet {
            let none = Report::of_no_server();
            let deciding = reports.iter().find(|report| report.exit() != Exit::Done);
            tell_shortly(context, deciding.or(reports.is_empty().then_some(&none)));
        }
        for report in reports {
            tell_aside(context, report);
        }
        return Ok(exit);
    }

    let report = match context.server(arguments.server.as_ref(), &state)? {
        Some(origin) => {
            let mirror = Mirror::begin(context, arguments, &state, &origin);
            let mut report = look(context, &origin, &state, context.settings.token.as_ref(), how);
            mirror.settle(&mut report, context.terminal);
            report
        }
        None => Report::of_no_server(),
    };
    if arguments.json {
        context.terminal.json(&report.json())?;
    } else if !context.terminal.quiet {
        context.terminal.report(&text::of(&report, context.now()))?;
    }
    if context.terminal.quiet {
        tell_shortly(context, Some(&report));
    }
    let exit = report.exit();
    tell_aside(context, report);
    Ok(exit)
}

/// Reports in one line why there is no live session and what to do, even with `-q`, so that a failing script explains
/// itself.
fn tell_shortly(context: &Context, report: Option<&Report>) {
    let Some(report) = report.filter(|report| report.exit() != Exit::Done) else { return };
    // The trust options were invalid, and that was already reported.
    if report.state == State::Untrusted && report.cause.is_none() {
        return;
    }
    let failure = report.failure();
    context.terminal.error(&match report.exit() {
        Exit::LoginNeeded => format!("{failure}: {}", report.login),
        _ => failure.to_string(),
    });
}

/// Warnings for every output format: a wrong clock, or why a server is not trusted.
fn tell_aside(context: &Context, report: Report) {
    if context.terminal.quiet {
        return;
    }
    report.tell_skew(context.terminal);
    tell_of_newer(context, &report);
    if let (State::Untrusted, Some(origin), Some(cause)) = (report.state, report.server, report.cause) {
        context.terminal.fail(&cause.to_failure(&origin));
    }
}
