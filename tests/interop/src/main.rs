//! Participants of `@waku/sds` and of this library in the same groups: does each understand what
//! the other does? Run by `tests/interop/run`, which sees to Node and the npm packages.
//!
//! Time is virtual and all chance is seeded, on both sides of the pipe: a run that fails fails
//! again. Cases are written once, in words that both implementations have, and run in both
//! directions.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    reason = "a test program reports, has std, and picks what it looks at"
)]

mod acks;
mod bridge;
mod group;
mod kinds;
mod peer;
mod repair;
mod timing;
mod world;

use std::cell::RefCell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;

use peer::{Js, Side};

pub(crate) type Failure = Box<dyn Error>;

/// The observation of a case, or its failure.
type Outcome = Result<String, Failure>;

/// A case between two participants: the first does what the case is about, the second hears it.
type Directed = fn(js: &Js, from: Side, to: Side) -> Outcome;

/// A case in which both do everything.
type Joint = fn(js: &Js) -> Outcome;

const DIRECTED: [(&str, Directed); 10] = [
    ("content is delivered", kinds::content),
    ("a sync tells what is missing", kinds::sync_tells),
    ("a sync acknowledges", kinds::sync_acknowledges),
    ("ephemeral messages", kinds::ephemeral),
    ("acknowledged by causal history", acks::by_history),
    ("acknowledged by bloom filters", acks::by_filters),
    ("nothing acknowledged for nothing", acks::by_nothing),
    ("a repair request is answered", repair::answered),
    ("an answer heard is not given again", repair::cancelled),
    ("response groups divide answering", repair::divided),
];

const JOINT: [(&str, Joint); 7] = [
    ("filters equal byte for byte", kinds::filters),
    ("T_req, T_resp, response groups", timing::table),
    ("lossy group: 2 Rust, 2 JS", group::even),
    ("lossy group: 3 Rust, 1 JS", group::mostly_rust),
    ("lossy group: 1 Rust, 3 JS", group::mostly_js),
    ("bridge: JS, Rust, nim", group::bridged),
    ("lossy bridge: 2 JS, Rust, 2 nim", group::bridged_lossy),
];

fn main() -> ExitCode {
    let js = match bridge::Bridge::start() {
        Ok(bridge) => Rc::new(RefCell::new(bridge)),
        Err(error) => {
            println!("failed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    for (case, run) in DIRECTED {
        report.add(case, "Rust → JS", run(&js, Side::RUST, Side::Js));
        report.add(case, "JS → Rust", run(&js, Side::Js, Side::RUST));
    }
    for (case, run) in JOINT {
        report.add(case, "Rust ↔ JS", run(&js));
    }
    println!("{} cases, {} failed", report.cases, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Report {
    cases: u32,
    failed: u32,
}

impl Report {
    fn add(&mut self, case: &str, direction: &str, outcome: Outcome) {
        self.cases += 1;
        let (verdict, detail) = match outcome {
            Ok(detail) => ("passed", detail),
            Err(error) => {
                self.failed += 1;
                ("FAILED", error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        };
        println!("{case:<36} {direction}  {verdict}  {detail}");
    }
}

/// `Err` with the text unless the condition holds.
pub(crate) fn ensure<T: Into<Failure>>(
    condition: bool,
    text: impl FnOnce() -> T,
) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(text().into()) }
}
