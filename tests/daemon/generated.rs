//! `completions/` and `man/`: what the arguments of `infrad` are now. The development provider is left out of packages, and
//! its page with it.

#![cfg(feature = "dev")]

use clap::CommandFactory;
use infra_daemon::arguments::Arguments;
use infra_harness::generated;

#[test]
fn completion_scripts_are_those_of_the_arguments() {
    generated::compare("completions", "infrad", &generated::completions(&Arguments::command()));
}

#[test]
fn manual_pages_are_those_of_the_arguments() {
    generated::compare("man", "infrad", &generated::manual_pages(&Arguments::command(), "8"));
}

#[test]
fn mandoc_and_groff_have_nothing_to_say_about_the_manual_pages() {
    generated::lint(&generated::manual_pages(&Arguments::command(), "8"));
}
