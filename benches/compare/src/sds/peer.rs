//! Programs of others that receive a stream and say how long that took them.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Stands for the path of the stream file in a command.
const PATH: &str = "{}";

/// A command for the shell.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) String);

impl Peer {
    /// Runs it on a stream file: in place of `{}` in the command, or else as standard input.
    /// The seconds that its last line of output says.
    ///
    /// # Errors
    ///
    /// It cannot be run, fails, or its last line is not a number above zero.
    pub(crate) fn run(&self, stream: &Path) -> anyhow::Result<f64> {
        let blame = || format!("the peer `{}`", self.0);
        let mut command = Command::new("sh");
        // The shell puts the path in, so that any path will do.
        command.arg("-c").arg(self.0.replace(PATH, "\"$1\"")).arg("sh").arg(stream);
        command.stdin(if self.0.contains(PATH) {
            Stdio::null()
        } else {
            Stdio::from(File::open(stream).with_context(blame)?)
        });
        let output = command.stderr(Stdio::inherit()).output().with_context(blame)?;
        if !output.status.success() {
            bail!("{} failed: {}", blame(), output.status);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.trim_end().lines().last().unwrap_or_default();
        let seconds: f64 = last.trim().parse().with_context(|| {
            format!("{} must end with the seconds it took, and not with `{last}`", blame())
        })?;
        ensure!(seconds > 0.0 && seconds.is_finite(), "{} took {seconds} seconds", blame());
        Ok(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, path: &Path) -> Result<f64, String> {
        Peer(command.into()).run(path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_stream_comes_by_path_or_on_standard_input_and_the_last_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a stream");
        std::fs::write(&path, "0.25\n").unwrap();
        assert_eq!(run("echo working; cat", &path), Ok(0.25));
        assert_eq!(run("cat {}", &path), Ok(0.25));
    }

    #[test]
    fn what_a_peer_does_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream");
        std::fs::write(&path, "").unwrap();
        let failed = run("exit 3", &path).unwrap_err();
        assert!(failed.starts_with("the peer `exit 3` failed: exit status: 3"), "{failed}");
        let wordy = run("echo done", &path).unwrap_err();
        assert!(
            wordy.contains("must end with the seconds it took, and not with `done`"),
            "{wordy}"
        );
        assert!(run("echo 0", &path).unwrap_err().ends_with("took 0 seconds"));
    }
}
