//! Directories for what participants leave.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is kept, or one that goes when this is dropped.
pub(crate) enum Folder<'a> {
    Kept(&'a Path),
    Temporary(TempDir),
}

impl<'a> Folder<'a> {
    /// Makes `kept`, which `option` names, if it is not there; without one, a temporary directory.
    pub(crate) fn create(option: &str, kept: Option<&'a PathBuf>) -> Result<Self, String> {
        let Some(dir) = kept else {
            let temporary = TempDir::with_prefix("lossy_group").map(Self::Temporary);
            let place = std::env::temp_dir();
            return temporary.map_err(|error| format!("{}: {error}", place.display()));
        };
        match fs::create_dir_all(dir) {
            Ok(()) => Ok(Self::Kept(dir)),
            Err(error) => Err(format!("{option} {}: {error}", dir.display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }
}
