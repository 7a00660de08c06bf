//! `@waku/sds` in Node: a peer like others, installed for the run.

use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::peer::Peer;

const PROGRAM: &str = include_str!("../../js/bench.mjs");
/// The package file of the interoperability test.
const PACKAGE: &str = include_str!("../../../../tests/interop/package.json");
const LOCK: &str = include_str!("../../../../tests/interop/package-lock.json");

/// A folder in which the library is installed.
pub(crate) struct Js(TempDir);

impl Js {
    /// Installs the library, as locked, into a temporary folder.
    ///
    /// # Errors
    ///
    /// There is no Node or no npm, or npm cannot install it.
    pub(crate) fn install() -> anyhow::Result<Self> {
        succeeds(Command::new("node").arg("--version")).context("there is no Node")?;
        succeeds(Command::new("npm").arg("--version")).context("there is no npm")?;
        let folder = TempDir::with_prefix("sds-compare-js")?;
        let files =
            [("bench.mjs", PROGRAM), ("package.json", PACKAGE), ("package-lock.json", LOCK)];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        succeeds(npm.current_dir(&folder)).context("npm cannot install @waku/sds")?;
        Ok(Self(folder))
    }

    /// Receives the messages of a stream.
    pub(crate) fn receive(&self) -> Peer {
        self.peer("receive")
    }

    /// Publishes the content of the messages of a stream.
    pub(crate) fn send(&self) -> Peer {
        self.peer("send")
    }

    fn peer(&self, what: &str) -> Peer {
        Peer(format!("node '{}' {what} {{}}", self.0.path().join("bench.mjs").display()))
    }
}

fn succeeds(command: &mut Command) -> anyhow::Result<()> {
    let Output { status, stderr, .. } = command.output()?;
    ensure!(status.success(), "{}", String::from_utf8_lossy(&stderr).trim_end());
    Ok(())
}
