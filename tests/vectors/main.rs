//! Runs every case of every vector file and says how many there were: invariant I14 of
//! ARCHITECTURE.md.
//!
//! Vectors are bytes and numbers that the existing implementations produced. The files are those of
//! the folder named by `SDS_VECTORS`, or else of `tests/vectors` and of `variants` in it. Nothing
//! is skipped in silence: a file of unknown shape is named, a section that nobody checks and a
//! section without cases are failures.
//!
//! A case is judged by what it is, not by its name. Without `SDS_VECTORS` the judges are judged as
//! well: each field of each section, once it is changed, must make some case fail.

#![expect(clippy::print_stdout, reason = "this program's output is its report")]

mod deviation;
mod hashes;
mod json;
mod messages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, panic};

use serde_json::{Map, Value};

/// Judges one case; the second argument is the whole file.
pub(crate) type Check = fn(case: &Value, root: &Value) -> Result<(), String>;

type Sections = &'static [&'static [(&'static str, Check)]];

const NIM: Sections = &[messages::NIM, hashes::NIM];
const LIP109: Sections = &[messages::LIP109, hashes::LIP109];
const FORMS: Sections = &[messages::FORMS];

/// Fields of a file that describe its origin.
const DESCRIPTION: &[&str] = &["source", "nim", "hashAlgorithm", "sizeofInt", "defaults"];

fn main() -> ExitCode {
    // `cargo test` passes libtest's arguments on. There is nothing to list; filters and the like
    // are ignored, because all cases together take a moment.
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    if let Some(folder) = env::var_os("SDS_VECTORS") {
        report.run_folder(&PathBuf::from(folder), false);
    } else {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
        report.run_folder(&folder, true);
        report.run_folder(&folder.join("variants"), false);
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
    known_files: usize,
    failures: usize,
}

impl Report {
    fn fail(&mut self, place: &str, reason: &str) {
        println!("FAILED {place}: {reason}");
        self.failures += 1;
    }

    /// Runs each file of a folder. `doubt`: sees that changed cases fail, too.
    fn run_folder(&mut self, folder: &Path, doubt: bool) {
        let place = folder.to_string_lossy();
        let known = self.known_files;
        match vector_files(folder) {
            Ok(files) => files.iter().for_each(|file| self.run_file(file, doubt)),
            Err(reason) => self.fail(&place, &reason),
        }
        if self.known_files == known {
            self.fail(&place, "no vector file of a known kind");
        }
    }

    fn run_file(&mut self, path: &Path, doubt: bool) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let root = match read(path) {
            Ok(root) => root,
            Err(reason) => return self.fail(&file, &reason),
        };
        let Some((keys, sections)) = shape(&root) else {
            println!(
                "{file}: not run, a vector file neither of nim-sds, nor of its forms, nor of LIP-109"
            );
            return;
        };
        self.known_files += 1;
        for (key, value) in keys {
            let place = format!("{file}: {key}");
            let known = sections.iter().copied().flatten().find(|(section, _)| section == key);
            match (known, value.as_array()) {
                (Some((_, check)), Some(cases)) => {
                    self.run_section(&place, cases, *check, &root);
                    if doubt {
                        self.doubt_section(&place, cases, *check, &root);
                    }
                }
                (Some(_), None) => self.fail(&place, "not a list of cases"),
                (None, None) if DESCRIPTION.contains(&key.as_str()) => {}
                (None, None) => println!("{place}: not a list, taken for a description"),
                (None, Some(_)) => self.fail(&place, "not known, not run"),
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
            if let Err(reason) = judged(check, case, root) {
                let name = case.get("name").and_then(Value::as_str).unwrap_or_default();
                self.fail(&format!("{place}[{index}] {name:?}"), &reason);
            }
        }
    }
}

impl Report {
    /// Changes each field of the section's cases, one at a time: some case must fail of it.
    fn doubt_section(&mut self, place: &str, cases: &[Value], check: Check, root: &Value) {
        let fields = cases.iter().filter_map(Value::as_object).flat_map(Map::keys);
        // Which case it is and why, people are told.
        let fields: BTreeSet<&String> =
            fields.filter(|field| !["name", "why"].contains(&field.as_str())).collect();
        for field in fields {
            let notices = |case: &Value| {
                let mut changed = case.clone();
                changed.get_mut(field).is_some_and(change) && check(&changed, root).is_err()
            };
            if !cases.iter().any(notices) {
                self.fail(&format!("{place}: {field}"), "no case fails if it is changed");
            }
        }
    }
}

/// Changes the last thing in a value that can be changed, into another of its kind.
fn change(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => {
            *truth = !*truth;
            true
        }
        Value::Number(number) => {
            let changed = number.as_i64().map(|whole| whole.wrapping_add(1).into());
            let changed = changed.or_else(|| number.as_f64().map(|part| (part / 3.0).into()));
            changed.is_some_and(|changed| {
                *value = changed;
                true
            })
        }
        Value::String(text) => match text.chars().next() {
            Some(first) => {
                let other = if first == '1' { "2" } else { "1" };
                text.replace_range(..first.len_utf8(), other);
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().rev().any(change),
        Value::Object(fields) => fields.values_mut().rev().any(change),
    }
}

fn judged(check: Check, case: &Value, root: &Value) -> Result<(), String> {
    panic::catch_unwind(|| check(case, root)).unwrap_or_else(|_| Err("panicked".into()))
}

fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Only files made by nim-sds name the hash algorithm they were built with, and only those of its
/// forms have the sections of those. A file without a single section that its kind knows is of no
/// kind.
fn shape(root: &Value) -> Option<(&Map<String, Value>, Sections)> {
    let keys = root.as_object()?;
    let knows = |sections: &Sections| {
        sections.iter().copied().flatten().any(|(section, _)| keys.contains_key(*section))
    };
    let kinds = if keys.contains_key("hashAlgorithm") { &[NIM][..] } else { &[FORMS, LIP109] };
    kinds.iter().copied().find(knows).map(|sections| (keys, sections))
}
