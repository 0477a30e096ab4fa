//! Users and groups of this machine, from `/etc/passwd` and `/etc/group`.

use std::path::{Path, PathBuf};

/// Maximum bytes to read: more than these files have on any host that runs the daemon.
const LIMIT: u64 = 4 * 1024 * 1024;

/// A user with all its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    /// Group IDs, with the primary group first.
    pub gids: Vec<u32>,
    pub home: PathBuf,
}

impl Account {
    /// Looks up a user by name or number. `None` if the files do not list it, for example an account of a directory
    /// service.
    pub fn find(user: &str) -> Option<Self> {
        Self::find_below(Path::new("/"), user)
    }

    fn find_below(root: &Path, user: &str) -> Option<Self> {
        let passwd = read(&root.join("etc/passwd"))?;
        let by_name = |fields: &Vec<&str>| fields.first() == Some(&user);
        let by_number = |fields: &Vec<&str>| fields.get(2) == Some(&user);
        let rows: Vec<Vec<&str>> = passwd.lines().map(|line| line.split(':').collect()).collect();
        let fields =
            rows.iter().find(|row| by_name(row)).or_else(|| rows.iter().find(|row| by_number(row)))?;
        let name = (*fields.first()?).to_owned();
        let mut gids = vec![fields.get(3)?.parse().ok()?];
        for line in read(&root.join("etc/group")).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let gid = fields.get(2).and_then(|gid| gid.parse().ok());
            let is_member =
                fields.get(3).is_some_and(|members| members.split(',').any(|member| member == name));
            gids.extend(gid.filter(|gid| is_member && !gids.contains(gid)));
        }
        Some(Self { uid: fields.get(2)?.parse().ok()?, gids, home: fields.get(5)?.into(), name })
    }

    /// Name of a group, or its number if it has no name here.
    pub(super) fn group_name_of(gid: u32) -> String {
        let listed = read(Path::new("/etc/group")).unwrap_or_default();
        let fields = listed.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let found = fields.into_iter().find(|fields| fields.get(2) == Some(&gid.to_string().as_str()));
        found
            .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
            .unwrap_or_else(|| gid.to_string())
    }

    /// Adds a group by name or number, as `Group=` and `SupplementaryGroups=` of a unit do.
    pub(super) fn join(&mut self, group: &str) {
        let listed = read(Path::new("/etc/group")).unwrap_or_default();
        let by_name = listed.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
            (fields.first() == Some(&group)).then(|| fields.get(2)?.parse().ok()).flatten()
        });
        let gid = by_name.or_else(|| group.parse().ok());
        self.gids.extend(gid.filter(|gid| !self.gids.contains(gid)));
    }

    pub fn of_this_process() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let own = rustix::process::getegid().as_raw();
        let groups = rustix::process::getgroups().unwrap_or_default();
        let gids = std::iter::once(own).chain(groups.iter().map(|gid| gid.as_raw())).collect();
        let name = Self::name_of(uid);
        Self { name, uid, gids, home: PathBuf::new() }
    }

    /// Name of a user, or its number if it has no name here.
    pub fn name_of(uid: u32) -> String {
        Self::find(&uid.to_string())
            .filter(|found| found.uid == uid)
            .map_or(uid.to_string(), |found| found.name)
    }
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read;

    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_has_every_group_that_lists_it() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("etc")).expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).expect("a file");
        write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ninfrad:x:997:996::/nonexistent:/usr/sbin/nologin\n",
        );
        write("etc/group", "root:x:0:\ninfrad:x:996:\nssl-cert:x:114:www-data,infrad\nadm:x:4:alice\n");
        let expected = Account {
            name: "infrad".to_owned(),
            uid: 997,
            gids: vec![996, 114],
            home: "/nonexistent".into(),
        };
        assert_eq!(Account::find_below(root.path(), "infrad"), Some(expected.clone()));
        assert_eq!(Account::find_below(root.path(), "997"), Some(expected));
        assert_eq!(Account::find_below(root.path(), "bob"), None);
    }
}
