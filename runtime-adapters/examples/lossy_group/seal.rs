//! Files of lines, sealed by a last line with the SHA-256 of all before: a file whose writer
//! died, and one that was changed since, cannot be read.

use core::fmt;
use core::str::FromStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::record::Malformed;

/// Writes lines, then seals them. Who is killed before has written all lines so far.
pub(crate) struct SealedWriter {
    file: File,
    sha: Sha256,
}

impl SealedWriter {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path).map_err(|error| about(path, &error))?;
        Ok(Self { file, sha: Sha256::new() })
    }

    /// Goes on with a file whose writer was killed, or begins one. Gives the lines that are there;
    /// one that was not finished is taken away.
    pub(crate) fn resume(path: &Path) -> io::Result<(Self, String)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|error| about(path, &error))?;
        let mut lines = String::new();
        file.read_to_string(&mut lines)?;
        lines.truncate(lines.rfind('\n').map_or(0, |newline| newline + 1));
        file.set_len(lines.len() as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self { file, sha: Sha256::new_with_prefix(&lines) }, lines))
    }

    pub(crate) fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        let line = format!("{line}\n");
        self.sha.update(&line);
        self.file.write_all(line.as_bytes())
    }

    pub(crate) fn seal(mut self) -> io::Result<()> {
        writeln!(self.file, "sha256 {}", hex(&self.sha.finalize()))
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The lines of a sealed file, each read as a `T`.
pub(crate) fn read<T: FromStr<Err = Malformed>>(path: &Path) -> Result<Vec<T>, Unreadable> {
    let unreadable = |reason: &str| Unreadable::new(path, reason);
    let bytes = fs::read(path).map_err(|e| unreadable(&format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("is not text"))?;
    let (body, seal) =
        split_seal(&text).ok_or_else(|| unreadable("has no seal: its writer died"))?;
    if seal != hex(&Sha256::digest(body)) {
        return Err(unreadable("is not as it was sealed"));
    }
    let parse = |line: &str| line.parse().map_err(|_| unreadable(&format!("holds {line:?}")));
    body.lines().map(parse).collect()
}

fn split_seal(text: &str) -> Option<(&str, &str)> {
    let end = text.strip_suffix('\n')?;
    let start = end.rfind('\n').map_or(0, |newline| newline + 1);
    Some((&text[..start], end[start..].strip_prefix("sha256 ")?))
}

/// A file that cannot be judged, and why.
#[derive(Debug)]
pub(crate) struct Unreadable {
    path: PathBuf,
    reason: String,
}

impl Unreadable {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The same with the file's name alone.
    pub(crate) fn in_brief(&self) -> String {
        let file = self.path.file_name().unwrap_or_default();
        format!("{} {}", file.display(), self.reason)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.reason)
    }
}

impl core::error::Error for Unreadable {}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
