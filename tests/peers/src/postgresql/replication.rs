//! Streaming replication: standbys, and what makes one of them the primary.

use std::fs;
use std::sync::Arc;

use infra_harness::wait;

use super::{LIMIT, PostgreSQL, run};

impl PostgreSQL {
    /// Starts a standby of this server, with its own port and a certificate of the same CA. Returns once it streams.
    #[must_use]
    pub fn start_standby(&self, name: &str) -> Self {
        let mut standby =
            Self::prepare(self.programs.clone(), Arc::clone(&self.authority), self.settings.clone());
        standby.follow(self, name);
        standby
    }

    /// Replaces the data of this stopped server with a copy of the primary's, and starts it as a standby.
    pub fn follow(&mut self, primary: &Self, name: &str) {
        assert!(self.running.is_none(), "the server runs already");
        // There may be none yet.
        let _ = fs::remove_dir_all(self.data());
        let mut copy = self.command("pg_basebackup");
        copy.args(["-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync", "-h"]).arg(primary.socket());
        copy.args(["-p", &primary.port().to_string(), "-D"]).arg(self.data());
        run(copy);
        self.write_data_file("standby.signal", "");
        // It must not wait for the standbys of the server that it copied.
        self.configure("synchronous_standby_names = ''");
        self.configure(&format!(
            "primary_conninfo = 'host={} port={} user=postgres application_name={name}'",
            primary.socket().display(),
            primary.port(),
        ));
        self.start_again();
        primary.wait_for_standby(&format!("application_name = '{name}'"));
    }

    /// Acknowledges commits only once this standby has them.
    pub fn wait_for_commits_at(&self, standby: &str) {
        self.set("synchronous_standby_names", standby);
        self.wait_for_standby(&format!("application_name = '{standby}' AND sync_state = 'sync'"));
    }

    /// Makes the standby the primary. Returns once it accepts writes.
    pub fn promote(&self) {
        assert_eq!(self.sql_as("postgres", "postgres", "SELECT pg_promote()"), "t", "{}", self.log());
    }

    /// Cuts the standby off from its primary, which goes on.
    pub fn stop_following(&self, primary: &Self) {
        self.set("primary_conninfo", "");
        let is_alone = || {
            let count = "SELECT count(*) FROM pg_stat_replication";
            (primary.sql_as("postgres", "postgres", count) == "0").then_some(())
        };
        assert!(wait::until(LIMIT, is_alone).is_some(), "it follows\n{}", self.log());
    }

    /// Changes a setting of the running server.
    pub fn set(&self, name: &str, value: &str) {
        self.sql_as("postgres", "postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.sql_as("postgres", "postgres", "SELECT pg_reload_conf()");
    }

    fn wait_for_standby(&self, condition: &str) {
        let count =
            format!("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND {condition}");
        let streams = || (self.sql_as("postgres", "postgres", &count) == "1").then_some(());
        assert!(wait::until(LIMIT, streams).is_some(), "no standby with {condition}\n{}", self.log());
    }
}
