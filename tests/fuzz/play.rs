//! Feeds inputs to the target named by `INFRA_FUZZ_TARGET`. Each target is defined in the module that it tests.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("INFRA_FUZZ_TARGET").unwrap_or_default();
    let targets = [infra_daemon::fuzz_targets(), infra_cli::fuzz_targets()].concat();
    let found = targets.iter().find(|(name, _)| *name == wanted).map(|(_, target)| *target);
    found.unwrap_or_else(|| {
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        panic!("INFRA_FUZZ_TARGET={wanted:?} names none of {}", names.join(" "))
    })
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
