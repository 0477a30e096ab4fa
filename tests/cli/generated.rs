//! `completions/`, `man/` and `docs/infra.md` match the argument definitions, and manual page readers report no warnings.

use clap::CommandFactory;
use infra_cli::arguments::{Arguments, PROGRAM};
use infra_harness::generated;

#[test]
fn completion_scripts_match_the_arguments() {
    generated::compare("completions", "infra", &generated::completions(&PROGRAM));
}

#[test]
fn manual_pages_match_the_arguments() {
    generated::compare("man", "infra", &generated::manual_pages(&Arguments::command(), "1"));
}

#[test]
fn command_reference_matches_the_arguments() {
    generated::compare_file("docs/infra.md", &generated::reference(&Arguments::command()));
}

#[test]
fn manual_pages_have_every_expected_section() {
    for (name, page) in generated::manual_pages(&Arguments::command(), "1") {
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{name} has no {section}");
        }
        assert!(page.contains("\n.SH \"EXIT STATUS\"\n"), "{name} has no exit status");
    }
}

#[test]
fn mandoc_and_groff_accept_the_manual_pages() {
    generated::lint(&generated::manual_pages(&Arguments::command(), "1"));
}
