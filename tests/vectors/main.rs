//! Runs every case of every vector file and says how many there were: invariant I14 of
//! ARCHITECTURE.md.
//!
//! Vectors are bytes and numbers that the existing implementations produced. The files are those of
//! the folder named by `SDS_VECTORS`, or else of `tests/vectors`. Nothing is skipped in silence: a
//! file of unknown shape, a section that nobody checks and a section without cases are failures.

#![expect(clippy::print_stdout, reason = "this program's output is its report")]

mod hashes;
mod json;
mod messages;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, panic};

use serde_json::{Map, Value};

/// Judges one case; the second argument is the whole file.
pub(crate) type Check = fn(case: &Value, root: &Value) -> Result<(), String>;

type Sections = [&'static [(&'static str, Check)]; 2];

const NIM: Sections = [messages::NIM, hashes::NIM];
const LIP109: Sections = [messages::LIP109, hashes::LIP109];

/// What a file says about how it was made.
const DESCRIPTION: &[&str] = &["source", "nim", "hashAlgorithm", "sizeofInt", "defaults"];

fn main() -> ExitCode {
    // `cargo test` passes libtest's arguments on. There is nothing to list; filters and the like
    // are ignored, because all cases together take a moment.
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let folder = env::var_os("SDS_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let mut report = Report::default();
    match vector_files(&folder) {
        Ok(files) => files.iter().for_each(|file| report.run_file(file)),
        Err(reason) => report.fail(&folder.to_string_lossy(), &reason),
    }
    println!("{} cases, {} failures", report.cases, report.failures);
    if report.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The folder's vector files in the order of their names; at least one.
fn vector_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err("no vector file".into()) } else { Ok(files) }
}

#[derive(Default)]
struct Report {
    cases: usize,
    failures: usize,
}

impl Report {
    fn fail(&mut self, place: &str, reason: &str) {
        println!("FAILED {place}: {reason}");
        self.failures += 1;
    }

    fn run_file(&mut self, path: &Path) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let root = match read(path) {
            Ok(root) => root,
            Err(reason) => return self.fail(&file, &reason),
        };
        let Some((keys, sections)) = shape(&root) else {
            return self.fail(&file, "neither a nim-sds nor a LIP-109 vector file");
        };
        for (key, value) in keys {
            let place = format!("{file}: {key}");
            let known = sections.iter().copied().flatten().find(|(section, _)| section == key);
            match (known, value.as_array()) {
                (Some((_, check)), Some(cases)) => self.run_section(&place, cases, *check, &root),
                (Some(_), None) => self.fail(&place, "not a list of cases"),
                (None, None) if DESCRIPTION.contains(&key.as_str()) => {}
                (None, _) => self.fail(&place, "not known, not run"),
            }
        }
    }

    fn run_section(&mut self, place: &str, cases: &[Value], check: Check, root: &Value) {
        println!("{place}: {} cases", cases.len());
        if cases.is_empty() {
            return self.fail(place, "no cases");
        }
        for (index, case) in cases.iter().enumerate() {
            self.cases += 1;
            let outcome = panic::catch_unwind(|| check(case, root));
            if let Err(reason) = outcome.unwrap_or_else(|_| Err("panicked".into())) {
                let name = case.get("name").and_then(Value::as_str).unwrap_or_default();
                self.fail(&format!("{place}[{index}] {name:?}"), &reason);
            }
        }
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Only files made by nim-sds name the hash algorithm they were built with. A file without a single
/// section that its kind knows is of neither kind.
fn shape(root: &Value) -> Option<(&Map<String, Value>, Sections)> {
    let keys = root.as_object()?;
    let sections = if keys.contains_key("hashAlgorithm") { NIM } else { LIP109 };
    let known = sections.iter().copied().flatten().any(|(section, _)| keys.contains_key(*section));
    known.then_some((keys, sections))
}
