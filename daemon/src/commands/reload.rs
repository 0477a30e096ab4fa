//! Handles SIGHUP: reloads what can be reloaded and lists what needs a restart.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::audit::{Audit, Event};
use crate::config::{Config, Sections};
use crate::logging::{Log, LogFormat};
use crate::platform::ServiceManager;
use crate::tls::Certificates;

/// State of a running daemon that can be reloaded.
pub(super) struct Reloading {
    pub(super) certificates: Arc<Certificates>,
    pub(super) audit: Audit,
    /// `None` if no file contains the configuration.
    pub(super) configuration: Option<Configuration>,
}

/// The configuration that the daemon was started with.
pub(super) struct Configuration {
    pub(super) path: PathBuf,
    pub(super) sections: Sections,
    pub(super) log_format: LogFormat,
    pub(super) log: Log,
}

impl Reloading {
    /// Reloads on each `hangup`: certificate files, the audit log's file and the log level. Retries pending work, such
    /// as ordering a certificate, immediately.
    pub(super) async fn reload_when_told(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            ServiceManager::reloading();
            tracing::info!("reloading certificates, the audit log and the log level");
            self.audit.reopen();
            self.certificates.reload().await;
            if let Some(configuration) = &self.configuration {
                configuration.reload(&self.audit);
            }
            ServiceManager::ready();
        }
    }
}

impl Configuration {
    fn reload(&self, audit: &Audit) {
        let config = match Config::read(&self.path) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(
                    %error,
                    "the new configuration is invalid: still using the old one; a restart would fail"
                );
                audit.record(&Event::Reloaded {
                    outcome: "failed",
                    configuration_hash: None,
                    restart_required: &[],
                });
                return;
            }
        };
        self.log.change_level(config.log.level);
        let mut changed = config.sections.differing_from(&self.sections);
        // The log level was just applied, so only a different format needs a restart.
        changed.retain(|name| name != "log" || config.log.format != self.log_format);
        audit.record(&Event::Reloaded {
            outcome: "succeeded",
            configuration_hash: config.digest.as_deref(),
            restart_required: &changed,
        });
        if !changed.is_empty() {
            let sections = changed.join(", ");
            tracing::warn!(sections, "these sections changed: restart to apply them");
        }
    }
}
