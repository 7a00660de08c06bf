//! Checks the references of the documents: files, headings, tests, figures. Their code is compiled
//! with the documentation tests.

#![allow(clippy::std_instead_of_core, reason = "a test has std")]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose papers are read; those of dependencies and builds are not.
const FOLDERS: [&str; 14] = [
    ".",
    "benches",
    "benches/compare",
    "docs",
    "examples/c",
    "examples/firmware",
    "examples/python",
    "fuzz",
    "runtime-adapters",
    "runtime-adapters/ffi",
    "runtime-adapters/spsc",
    "tests",
    "tests/interop",
    "tests/vectors",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn papers() -> Vec<PathBuf> {
    let files = |folder| fs::read_dir(root().join(folder)).expect("a folder");
    let files = FOLDERS.into_iter().flat_map(files).map(|file| file.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Returns each text between `open` and the next `close`.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// The anchors of a paper's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(kept).collect()).collect()
}

#[test]
fn links_lead_somewhere() {
    for paper in papers() {
        let text = read(&paper);
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => paper.clone(),
                file => paper.with_file_name(file),
            };
            assert!(to.exists(), "{}: {link}", paper.display());
            let found = anchor.is_empty() || anchors(&read(&to)).iter().any(|a| a == anchor);
            assert!(found, "{}: there is no heading for {link}", paper.display());
        }
    }
}

#[test]
fn every_guide_is_in_the_index() {
    let index = read("docs/README.md");
    for guide in fs::read_dir(root().join("docs")).expect("the guides") {
        let name = guide.expect("a file").file_name().into_string().expect("text");
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "{name}");
    }
}

#[test]
fn what_the_comparison_names_exists() {
    let mut sources = String::new();
    let mut folders = vec![root().join("tests"), root().join("runtime-adapters/tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&read(&path));
            }
        }
    }
    let comparison = read("docs/comparison.md");
    let mut tests = 0;
    for name in comparison.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', '@'])) {
        if name.contains('/') {
            assert!(root().join(name).exists(), "there is no {name}");
        } else if name.contains(".txt") {
            assert!(root().join("tests/spec").join(name).exists(), "there is no tests/spec/{name}");
        } else if name.contains('_') {
            tests += 1;
            let found = sources.contains(&format!("fn {name}("))
                || sources.contains(&format!("fn {name}<"));
            assert!(found, "there is no test {name}");
        }
    }
    assert!(tests > 20, "the comparison names {tests} tests");
}

#[test]
fn figures_that_are_quoted_are_those_of_the_simulator() {
    let (guide, figures) = (read("docs/tuning.md"), read("tests/figures.txt"));
    let quoted: Vec<_> = guide.lines().filter(|line| line.starts_with("   ")).collect();
    let quoted: Vec<_> = quoted.into_iter().filter(|line| line.matches('|').count() == 4).collect();
    assert!(quoted.len() >= 3, "the guide quotes figures");
    for line in quoted {
        assert!(figures.contains(line), "not in tests/figures.txt: {line}");
    }
}
