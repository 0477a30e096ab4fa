//! Simulates a limited file system with a preloaded library that makes system calls fail.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::peers;
use crate::program::Call;

const SOURCE: &str = include_str!("odd_file_system.c");

/// The compiled library, deleted when dropped.
pub struct OddFileSystem {
    folder: TempDir,
}

impl OddFileSystem {
    /// Compiles the library. Returns `None` and reports a skip without a C compiler.
    pub fn build() -> Option<Self> {
        let compiler = peers::find_program("cc")?;
        let odd = Self { folder: TempDir::with_prefix("infra-odd-").expect("a temporary directory") };
        let source = odd.folder.path().join("odd.c");
        std::fs::write(&source, SOURCE).expect("our own file");
        let built = Command::new(compiler)
            .args(["-shared", "-fPIC", "-o"])
            .args([&odd.library(), &source])
            .status()
            .expect("it starts");
        assert!(built.success(), "the library cannot be built");
        Some(odd)
    }

    /// Runs the call on a file system without `what`: `no-modes`, `no-chmod`, `no-locks`,
    /// `no-directory-sync`.
    pub fn without<'a>(&self, what: &str, call: Call<'a>) -> Call<'a> {
        call.env("LD_PRELOAD", self.library()).env("ODD", what)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("odd.so")
    }
}
