//! `infra status`: shows the account at each server and when the session expires.

mod json;
mod keyring_copy;
mod newer_sessions;
mod report;
mod text;

use std::collections::BTreeSet;

use infra_shared::origin::Origin;
use serde::Serialize;

use super::{Context, concurrent, missing_home_note};
use crate::arguments::Status;
use crate::failure::{Exit, Failure};
use keyring_copy::CopyCheck;

pub(super) use newer_sessions::{machine, warn_of_newer};
pub(super) use report::{CheckMode, Report, State, check_session, warn_if_not_stored};
pub(super) use text::account;

/// Output of `status --all --json`.
#[derive(Serialize)]
struct All {
    schema: u32,
    servers: Vec<json::Json>,
}

pub(super) fn run(context: &Context, arguments: &Status) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let mode = if arguments.offline { CheckMode::Offline } else { CheckMode::Online };
    if arguments.all {
        // `INFRA_TOKEN` belongs only to the server that was named with it.
        let token = context.settings.token.as_ref();
        let named = context.server(None, &state)?.filter(|_| token.is_some());
        let mut servers: BTreeSet<&Origin> =
            state.config.servers.keys().chain(state.sessions.sessions.keys()).collect();
        servers.extend(&named);
        let copy_checks: Vec<CopyCheck> =
            servers.iter().map(|origin| CopyCheck::begin(context, arguments, &state, origin)).collect();
        let servers: Vec<&Origin> = servers.into_iter().collect();
        let mut reports = concurrent::for_each(&servers, |origin| {
            check_session(context, origin, &state, token.filter(|_| named.as_ref() == Some(*origin)), mode)
        });
        for (copy_check, report) in copy_checks.into_iter().zip(&mut reports) {
            copy_check.finish(report, context.terminal);
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
                reports.iter().map(|report| text::render(report, context.now())).collect();
            if texts.is_empty() {
                texts.push(text::render(&Report::without_server(), context.now()));
            }
            context.terminal.report(&texts.join("\n"))?;
        }
        if context.terminal.quiet {
            let none = Report::without_server();
            let deciding = reports.iter().find(|report| report.exit() != Exit::Done);
            report_briefly(context, deciding.or(reports.is_empty().then_some(&none)));
        }
        note_missing_home(context, exit);
        for report in reports {
            show_warnings(context, &report);
        }
        return Ok(exit);
    }

    let report = match context.server(arguments.server.as_ref(), &state)? {
        Some(origin) => {
            let copy_check = CopyCheck::begin(context, arguments, &state, &origin);
            let mut report = check_session(context, &origin, &state, context.settings.token.as_ref(), mode);
            copy_check.finish(&mut report, context.terminal);
            report
        }
        None => Report::without_server(),
    };
    if arguments.json {
        context.terminal.json(&report.json())?;
    } else if !context.terminal.quiet {
        context.terminal.report(&text::render(&report, context.now()))?;
    }
    if context.terminal.quiet {
        report_briefly(context, Some(&report));
    }
    let exit = report.exit();
    note_missing_home(context, exit);
    show_warnings(context, &report);
    Ok(exit)
}

/// Explains why no session is stored, if `INFRA_HOME` cannot have one.
fn note_missing_home(context: &Context, exit: Exit) {
    if exit == Exit::LoginNeeded
        && let Some(parent) = context.missing_home_parent()
    {
        context.terminal.info(&format!("note: {}", missing_home_note(&parent)));
    }
}

/// Reports in one line why there is no live session and what to do, even with `-q`, so that a failing script explains
/// itself.
fn report_briefly(context: &Context, report: Option<&Report>) {
    let Some(report) = report.filter(|report| report.exit() != Exit::Done) else { return };
    let failure = report.failure();
    context.terminal.error(&match (report.exit(), report.undelivered) {
        (Exit::LoginNeeded, None) => format!("{failure}: {}", report.login),
        (Exit::LoginNeeded, Some(_)) => {
            format!("{failure}: {}; an earlier sign-out is not delivered: `infra logout`", report.login)
        }
        _ => failure.line(),
    });
}

/// Warnings for every output format: a wrong clock, or why a server is not trusted.
fn show_warnings(context: &Context, report: &Report) {
    if context.terminal.quiet {
        return;
    }
    report.warn_of_skew(context.terminal);
    warn_of_newer(context, report);
    if report.state == State::Untrusted && report.cause.is_some() {
        context.terminal.fail(&report.failure());
    }
}
