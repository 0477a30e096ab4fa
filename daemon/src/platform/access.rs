//! Predicts what a user can do with a file, from its owner, its mode and the directories above it.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::accounts::Account;
use super::private_files::is_too_open;

/// What a file is for. Decides which permissions it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A secret that only its owner may read: see [`super::read_private_file`].
    Secret,
    /// A certificate's private key. Its group may read it; others may not.
    CertificateKey,
    /// A file that everyone may read.
    Public,
    /// A directory that only its owner may enter.
    PrivateDirectory,
}

/// What a user can do with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Usable,
    /// The file does not exist.
    Missing,
    /// The cause, and a command that fixes it.
    Unusable {
        cause: String,
        hint: String,
    },
    /// The answer cannot be determined.
    Unknown {
        cause: String,
    },
}

const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

impl Access {
    /// Predicts what `account` can do with `path`.
    pub fn check(path: &Path, purpose: Purpose, account: &Account) -> Self {
        let above =
            path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).collect::<Vec<_>>();
        for directory in above.into_iter().rev() {
            match std::fs::metadata(directory) {
                Ok(metadata) if !metadata.is_dir() => return Self::Missing,
                Ok(metadata) => match grants(directory, &metadata, SEARCH, account) {
                    Some(true) => {}
                    Some(false) => {
                        return Self::Unusable {
                            cause: format!(
                                "{} cannot enter {}",
                                describe_account(account),
                                describe(directory, &metadata)
                            ),
                            hint: format!(
                                "`chmod a+x {0}`, or use a path outside of {0}",
                                directory.display()
                            ),
                        };
                    }
                    None => return has_access_list(directory),
                },
                Err(error) => return failed(directory, &error),
            }
        }
        match path.symlink_metadata() {
            Ok(metadata) => check_entry(path, &metadata, purpose, account),
            Err(error) => failed(path, &error),
        }
    }
}

fn check_entry(path: &Path, entry: &Metadata, purpose: Purpose, account: &Account) -> Access {
    let name = path.display();
    let unusable = |cause: String, hint: String| Access::Unusable { cause, hint };
    let is_private = matches!(purpose, Purpose::Secret | Purpose::PrivateDirectory);
    if is_private && entry.is_symlink() {
        return unusable(
            format!("{name} is a symbolic link"),
            format!("configure the path that {name} points to"),
        );
    }
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failed(path, &error),
    };
    let described = describe(path, &metadata);
    if metadata.is_dir() != (purpose == Purpose::PrivateDirectory) {
        let expected = if metadata.is_dir() {
            "a directory, and a file is needed"
        } else {
            "a file, and a directory is needed"
        };
        return unusable(format!("{name} is {expected}"), format!("configure another path than {name}"));
    }
    if purpose == Purpose::PrivateDirectory {
        if metadata.uid() != account.uid {
            let hint = format!("`chown -R {}: {name}`", account.name);
            return unusable(format!("{} does not own {described}", describe_account(account)), hint);
        }
        if metadata.mode() & 0o077 != 0 {
            return unusable(format!("other users can enter {described}"), format!("`chmod 0700 {name}`"));
        }
        return Access::Usable;
    }
    if purpose == Purpose::Public && metadata.mode() & 0o002 != 0 {
        return unusable(format!("other users can write to {described}"), format!("`chmod o-w {name}`"));
    }
    let others = match purpose {
        Purpose::Secret => is_too_open(metadata.mode(), metadata.uid(), account.uid),
        Purpose::CertificateKey => metadata.mode() & 0o007 != 0,
        _ => false,
    };
    if others {
        let mode = metadata.mode() & if purpose == Purpose::Secret { 0o400 } else { 0o640 };
        let close = format!("`chmod {mode:04o} {name}`");
        // Without permissions for others, only the owner and the group can read it.
        let is_own =
            account.uid == 0 || metadata.uid() == account.uid || account.gids.contains(&metadata.gid());
        let hint = if is_own { close } else { format!("`chown {}: {name}`, then {close}", account.name) };
        return unusable(format!("other users can read {described}"), hint);
    }
    // Root may hand a file to a group. A file of another user could change while the daemon uses it.
    if purpose == Purpose::Secret && metadata.uid() != account.uid && metadata.uid() != 0 {
        let hint = format!("`chown {}: {name}`", account.name);
        return unusable(format!("{} does not own {described}", describe_account(account)), hint);
    }
    match grants(path, &metadata, READ, account) {
        Some(true) => Access::Usable,
        Some(false) => {
            let hint = if purpose == Purpose::Public {
                format!("`chmod a+r {name}`")
            } else {
                format!("`chown {}: {name}`", account.name)
            };
            unusable(format!("{} cannot read {described}", describe_account(account)), hint)
        }
        None => has_access_list(path),
    }
}

/// Whether the mode grants `account` the permission `what`. `None` if an access control list decides.
fn grants(path: &Path, metadata: &Metadata, what: u32, account: &Account) -> Option<bool> {
    if account.uid == 0 {
        return Some(true);
    }
    if metadata.uid() == account.uid {
        return Some(metadata.mode() >> 6 & what == what);
    }
    let mut list = [0; 1024];
    // Fails if the file has no list or the file system supports none.
    if rustix::fs::getxattr(path, "system.posix_acl_access", &mut list).is_ok() {
        return None;
    }
    let class = if account.gids.contains(&metadata.gid()) { 3 } else { 0 };
    Some(metadata.mode() >> class & what == what)
}

fn has_access_list(path: &Path) -> Access {
    Access::Unknown {
        cause: format!(
            "{0} has an access control list, which this check cannot evaluate: see `getfacl {0}`",
            path.display()
        ),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Access {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Access::Missing,
        _ => Access::Unknown { cause: format!("{}: {error}", path.display()) },
    }
}

fn describe_account(account: &Account) -> String {
    format!("the user {}", account.name)
}

/// The path with its owner, group and mode.
fn describe(path: &Path, metadata: &Metadata) -> String {
    let (owner, mode) = (Account::name_of(metadata.uid()), metadata.mode() & 0o7777);
    format!(
        "{} (owner {owner}, group {}, mode {mode:04o})",
        path.display(),
        Account::group_name_of(metadata.gid())
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A user who owns none of the files, in these groups.
    fn other_account(gids: Vec<u32>) -> Account {
        Account { name: "infrad".to_owned(), uid: 4_000_000, gids, home: "/nonexistent".into() }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir();
        folder.expect("a directory")
    }

    fn file(folder: &Path, mode: u32) -> std::path::PathBuf {
        let path = folder.join(format!("{mode:o}"));
        fs::write(&path, "x").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        path
    }

    fn cause(access: Access) -> String {
        match access {
            Access::Unusable { cause, hint } => format!("{cause}; {hint}"),
            other => panic!("expected an unusable file: {other:?}"),
        }
    }

    #[test]
    fn file_of_another_owner_is_judged_by_mode_and_group() {
        let folder = folder();
        let own = Account::of_this_process();
        let check =
            |mode, purpose, account: &Account| Access::check(&file(folder.path(), mode), purpose, account);
        let (other, member) = (other_account(vec![4_000_000]), other_account(own.gids.clone()));

        assert_eq!(check(0o400, Purpose::CertificateKey, &own), Access::Usable);
        assert_eq!(check(0o640, Purpose::CertificateKey, &member), Access::Usable);
        assert_eq!(check(0o644, Purpose::Public, &other), Access::Usable);
        let told = cause(check(0o666, Purpose::Public, &own));
        assert!(told.contains("other users can write to") && told.contains("`chmod o-w "), "{told}");
        let told = cause(check(0o600, Purpose::CertificateKey, &other));
        assert!(told.contains("the user infrad cannot read") && told.contains("mode 0600"), "{told}");
        assert!(told.contains("`chown infrad: "), "{told}");
        let told = cause(check(0o644, Purpose::CertificateKey, &own));
        assert!(told.contains("other users can read") && told.contains("`chmod 0640 "), "{told}");
        let told = cause(check(0o644, Purpose::CertificateKey, &other));
        assert!(told.contains("; `chown infrad: ") && told.contains(", then `chmod 0640 "), "{told}");
        let told = cause(check(0o604, Purpose::Secret, &own));
        assert!(told.contains("other users can read") && told.contains("`chmod 0400 "), "{told}");
    }

    #[test]
    fn inaccessible_parent_directory_is_named() {
        let folder = folder();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).expect("a directory");
        let path = file(&closed, 0o644);
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("a mode");
        let told = cause(Access::check(&path, Purpose::Public, &other_account(vec![])));
        assert!(told.contains("cannot enter") && told.contains("closed (owner "), "{told}");
        assert_eq!(Access::check(&path, Purpose::Public, &Account::of_this_process()), Access::Usable);
    }

    #[test]
    fn data_directory_of_other_owner_or_open_mode_is_unusable() {
        let folder = folder();
        let (own, other) = (Account::of_this_process(), other_account(vec![]));
        let check = |account| Access::check(folder.path(), Purpose::PrivateDirectory, account);
        assert!(cause(check(&other)).contains("`chown -R infrad: "));
        assert!(cause(check(&own)).contains("`chmod 0700 "));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("a mode");
        assert_eq!(check(&own), Access::Usable);
    }

    #[test]
    fn missing_file_link_and_directory_are_distinguished() {
        let folder = folder();
        let own = Account::of_this_process();
        let check = |name: &str, purpose| Access::check(&folder.path().join(name), purpose, &own);
        assert_eq!(check("none", Purpose::Secret), Access::Missing);
        assert_eq!(check("none/below", Purpose::Secret), Access::Missing);
        symlink(file(folder.path(), 0o600), folder.path().join("link")).expect("a link");
        assert!(cause(check("link", Purpose::Secret)).contains("is a symbolic link"));
        assert_eq!(check("link", Purpose::CertificateKey), Access::Usable);
        fs::create_dir(folder.path().join("folder")).expect("a directory");
        assert!(cause(check("folder", Purpose::Public)).contains("a directory, and a file is needed"));
    }
}
