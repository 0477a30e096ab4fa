//! Keeps secrets in memory out of core dumps, and out of the hands of other processes of the same user.

use std::io;

/// Forbids core dumps of this process, and on Linux also that another process without privileges reads its memory or
/// traces it (`PR_SET_DUMPABLE`).
#[cfg(unix)]
pub fn forbid() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // The soft limit alone: a program that is started from here may want its own dumps.
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?;
    Ok(())
}

/// Nothing is known to be needed here. Not built on Windows yet.
#[cfg(not(unix))]
pub fn forbid() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn dumps_are_forbidden_and_so_is_tracing() {
        assert_ne!(dumpable_behavior().expect("Linux"), DumpableBehavior::NotDumpable);
        super::forbid().expect("it is allowed");
        assert_eq!(dumpable_behavior().expect("Linux"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }
}
