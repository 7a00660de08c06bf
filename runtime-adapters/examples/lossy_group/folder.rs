//! Directories for what participants leave.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is kept, or one that goes when this is dropped.
pub(crate) enum Folder<'a> {
    Kept(&'a Path),
    Temporary(TempDir),
}

impl<'a> Folder<'a> {
    /// Makes `kept` if it is not there; without one, a temporary directory.
    pub(crate) fn create(kept: Option<&'a PathBuf>) -> io::Result<Self> {
        match kept {
            Some(dir) => fs::create_dir_all(dir).map(|()| Self::Kept(dir)),
            None => TempDir::with_prefix("lossy_group").map(Self::Temporary),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }
}
