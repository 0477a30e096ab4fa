//! Keeps secrets in memory out of core dumps and away from other processes of the same user.

use std::io;

/// Disables core dumps of this process. On Linux it also stops unprivileged processes from reading its memory or
/// tracing it (`PR_SET_DUMPABLE`).
#[cfg(unix)]
pub fn forbid() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Only the soft limit, so that child processes can raise it again for their own dumps.
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?;
    Ok(())
}

/// Does nothing: Windows writes dumps only if an administrator turns that on.
#[cfg(not(unix))]
pub fn forbid() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn core_dumps_and_tracing_are_disabled() {
        assert_ne!(dumpable_behavior().expect("Linux"), DumpableBehavior::NotDumpable);
        super::forbid().expect("it is allowed");
        assert_eq!(dumpable_behavior().expect("Linux"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }
}
