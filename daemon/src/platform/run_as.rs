//! Runs code with the rights of another user, so that the kernel decides what that user can do.

use std::io;

use super::accounts::Account;

/// Runs `check` on a thread with the user and groups of `account` and without capabilities. Requires root.
#[cfg(target_os = "linux")]
pub fn run_as<T: Send>(account: &Account, check: impl FnOnce() -> T + Send) -> io::Result<T> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    let become_user = || {
        let groups: Vec<Gid> = account.gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let (uid, gid) = (Uid::from_raw(account.uid), groups.first().copied().unwrap_or(Gid::ROOT));
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        // Last, because it drops the right to do the others.
        set_thread_res_uid(uid, uid, uid)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| become_user().map(|()| check()).map_err(io::Error::from));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs nothing. Other systems give a user to whole processes, and lack the service whose user this is for.
#[cfg(not(target_os = "linux"))]
pub fn run_as<T: Send>(_account: &Account, _check: impl FnOnce() -> T + Send) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_runs_as_another_user_has_that_users_rights() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(closed).tempdir().expect("a directory");
        let account =
            Account { name: "other".to_owned(), uid: 4_000_000, gids: vec![4_000_001], home: "/".into() };
        let as_other = || (Account::of_this_process(), std::fs::read_dir(directory.path()).map(drop));
        let (seen, read) = run_as(&account, as_other).expect("root may");
        assert_eq!((seen.uid, seen.gids.first()), (4_000_000, Some(&4_000_001)));
        assert_eq!(read.expect_err("the directory is root's").kind(), io::ErrorKind::PermissionDenied);
        assert!(rustix::process::geteuid().is_root() && std::fs::read_dir(directory.path()).is_ok());
    }
}
