//! The command line.

use core::fmt;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Rounds unless chosen: what takes a minute or so.
const ROUNDS: u32 = if cfg!(debug_assertions) { 30 } else { 200 };

/// Arguments of `cargo test` for tests of another kind, which are ignored here.
const FOR_OTHERS: [&str; 6] =
    ["--nocapture", "--no-capture", "--show-output", "--quiet", "--exact", "--include-ignored"];

/// Kills participants and starts them again; says what they lost, if anything.
///
/// Exit code 0: nothing, and a store that answers before it has written was found out. 1: it says
/// what. 2: wrong options.
#[derive(Parser, Debug)]
#[command(name = "crash")]
pub(crate) struct Args {
    /// Kills, from 1 to 100,000. Default: 200, or 30 in a debug build.
    #[arg(long, default_value_t = ROUNDS, value_name = "N", hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Seed of who is killed when. When is also up to the machine.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// Driver of the nodes.
    #[arg(long, value_enum, default_value_t = Driver::Mixed)]
    driver: Driver,
    /// Names of tests, as `cargo test NAME` passes them on: this one runs if its name has one of
    /// them in it.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Names of tests that do not run, as `cargo test -- --skip NAME` passes them on.
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// Says what tests there are, which is this one.
    #[arg(long, hide = true)]
    list: bool,
    /// Be the participant with this index.
    #[arg(long, hide = true, requires = "ports", requires = "file")]
    child: Option<usize>,
    /// Number of earlier starts.
    #[arg(long, hide = true, default_value_t = 0)]
    life: u32,
    /// Ports of all participants.
    #[arg(long, hide = true, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Store of the participant's node.
    #[arg(long, hide = true)]
    file: Option<PathBuf>,
    /// The store answers before it has written.
    #[arg(long, hide = true)]
    hasty: bool,
}

/// The drivers of sds-runtime.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    /// A task on the smol executor.
    Smol,
    /// An event loop on a thread of its own.
    EventLoop,
    /// A task on a tokio runtime; only if built with `--features tokio`.
    Tokio,
    /// Each participant another of those that are built in.
    Mixed,
}

impl Driver {
    /// Returns the driver of the participant with this index.
    pub(crate) const fn of(self, index: usize) -> Self {
        match self {
            Self::Mixed => match index % if cfg!(feature = "tokio") { 3 } else { 2 } {
                0 => Self::Smol,
                1 => Self::EventLoop,
                _ => Self::Tokio,
            },
            Self::Smol | Self::EventLoop | Self::Tokio => self,
        }
    }
}

/// As it is given.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The task of this process.
pub(crate) enum Role {
    /// Run a trial.
    Parent(Trial),
    /// Take part in one.
    Child(Member),
    /// Other tests are wanted.
    Nobody,
}

/// Rounds, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    pub(crate) driver: Driver,
    /// The stores answer before they have written.
    pub(crate) hasty: bool,
}

impl Trial {
    /// The same with stores that answer before they have written.
    pub(crate) fn hasty(&self, rounds: u32) -> Self {
        Self { rounds, hasty: true, ..self.clone() }
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) life: u32,
    pub(crate) ports: Vec<u16>,
    pub(crate) file: PathBuf,
    pub(crate) driver: Driver,
    pub(crate) seed: u64,
    pub(crate) hasty: bool,
}

impl Args {
    pub(crate) fn role() -> Role {
        let Self { rounds, seed, driver, names, skip, list, child, life, ports, file, hasty } =
            Self::parse_from(std::env::args().filter(|word| !FOR_OTHERS.contains(&word.as_str())));
        if let (Some(index), Some(file)) = (child, file) {
            return Role::Child(Member { index, life, ports, file, driver, seed, hasty });
        }
        let is_named = |names: &[String]| names.iter().any(|name| "crash".contains(name.as_str()));
        if list || is_named(&skip) || !names.is_empty() && !is_named(&names) {
            return Role::Nobody;
        }
        Role::Parent(Trial { rounds, seed, driver, hasty })
    }
}

impl Member {
    /// The same as a command line.
    pub(crate) fn to_command_line(&self) -> Vec<String> {
        let Self { index, life, ports, file, driver, seed, hasty } = self;
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let mut line = vec![
            format!("--child={index}"),
            format!("--life={life}"),
            format!("--ports={}", ports.join(",")),
            format!("--file={}", file.display()),
            format!("--driver={driver}"),
            format!("--seed={seed}"),
        ];
        if *hasty {
            line.push("--hasty".into());
        }
        line
    }
}
