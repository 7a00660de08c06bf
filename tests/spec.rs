//! The rules of the protocol as text: `tests/spec/*.txt`; among them invariants I1 to I4, I9 and
//! I13 of ARCHITECTURE.md.
//!
//! A file is a row of blocks. A block is a comment that says the rule, commands, a line of four
//! dashes, and what comes of the commands; a blank line ends it. The node goes from block to block
//! until a `node` command makes a new one. `tests/common/script.rs` lists the commands.
//!
//! With `SPEC_REWRITE=1 cargo test --test spec` what comes of the commands is written into the
//! files in place of what was expected. Judge each changed line by its rule before it is kept.

mod common;

use std::path::{Path, PathBuf};
use std::{env, fs};

use common::script::Script;

const DASHES: &str = "----\n";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec");
    let entries = fs::read_dir(folder).expect("the folder of specifications");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    files.sort();
    files
}

/// A file's text with what really comes of the commands.
fn run(text: &str) -> String {
    let mut script = Script::new();
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let blocks = blocks.map(|block| {
        let Some((input, _)) = block.split_once(DASHES.trim_end()) else {
            return block.to_owned() + "\n";
        };
        let commands: String = input
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| [line, "\n"])
            .collect();
        format!("{input}{DASHES}{}", script.run(&commands))
    });
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_specification_holds() {
    let mut failures = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a specification");
        let actual = run(&text);
        if actual == text {
            continue;
        }
        if env::var_os("SPEC_REWRITE").is_some() {
            fs::write(&file, actual).expect("a writable specification");
            continue;
        }
        for (expected, actual) in text.split("\n\n").zip(actual.split("\n\n")) {
            if expected.trim_end() != actual.trim_end() {
                let name = file.file_name().unwrap_or_default().display();
                failures.push_str(&format!("{name}: expected\n{expected}\n\nbut\n{actual}\n\n"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn there_are_specifications() {
    assert!(files().len() >= 10);
}
