//! The command line.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// Participants in processes of their own publish into one group over real UDP sockets with
/// injected loss, duplication and reordering, and end up with equal logs.
///
/// The last line says `converged: …` and the exit code is 0, or it says what is missing where and
/// the exit code is 1. Wrong options: exit code 2.
#[derive(Parser, Debug)]
#[command(name = "lossy_group")]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Longest time the group may take, in seconds.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_s: u64,
    /// Keep the participants' files in this directory, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Run no group: judge the files of an earlier one that were kept in this directory.
    #[arg(long, value_name = "DIR", exclusive = true)]
    judge: Option<PathBuf>,
    /// Be the participant with this index.
    #[arg(long, hide = true, requires = "ports", requires = "dir")]
    child: Option<usize>,
    /// Ports of all participants.
    #[arg(long, hide = true, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Where the participant's files go.
    #[arg(long, hide = true)]
    dir: Option<PathBuf>,
}

/// What the group is, the same for parent and children.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct GroupArgs {
    /// Number of participants, from 2 to 64.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(crate) participants: u32,
    /// Messages that each participant publishes, from 1 to 10,000.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) messages: u32,
    /// Datagrams lost at each receiver, in percent, from 0 to 99.
    #[arg(long, default_value_t = 30, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=99))]
    pub(crate) loss: u32,
    /// Datagrams that come twice, in percent, from 0 to 100.
    #[arg(long, default_value_t = 10, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) dup: u32,
    /// Longest random delay of a datagram, in milliseconds, from 0 to 10,000: what is delayed
    /// less overtakes.
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) reorder_ms: u64,
    /// Seed of faults, contents and back-offs.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub(crate) seed: u64,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Spoken::Lip109)]
    pub(crate) dialect: Spoken,
    /// What runs each participant's node.
    #[arg(long, value_enum, default_value_t = Driver::Smol)]
    pub(crate) driver: Driver,
    /// Neither resend nor repair: under loss the group must not converge.
    #[arg(long)]
    pub(crate) no_repair: bool,
}

/// The dialects of a group.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spoken {
    /// Everybody speaks and takes LIP-109.
    Lip109,
    /// Everybody speaks and takes the dialect of nim-sds.
    Nim,
    /// The first half takes only LIP-109, the second half only nim-sds, the one in the middle is
    /// a bridge.
    Mixed,
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
}

/// What this process is to do.
pub(crate) enum Role {
    /// Run a group and judge it.
    Parent(ParentOptions),
    /// Take part in a group.
    Child(Member),
    /// Judge the files in this directory.
    Judge(PathBuf),
}

/// What the parent is told.
#[derive(Debug)]
pub(crate) struct ParentOptions {
    pub(crate) group: GroupArgs,
    pub(crate) timeout_s: u64,
    pub(crate) keep: Option<PathBuf>,
}

/// What one participant is told.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) group: GroupArgs,
    pub(crate) index: usize,
    pub(crate) ports: Vec<u16>,
    pub(crate) dir: PathBuf,
}

impl Args {
    /// Reads the command line; complains and exits if it makes no sense.
    pub(crate) fn role() -> Role {
        let Self { group, timeout_s, keep, judge, child, ports, dir } = Self::parse();
        if let Some(dir) = judge {
            return Role::Judge(dir);
        }
        if group.driver == Driver::Tokio && !cfg!(feature = "tokio") {
            let message = "--driver tokio: tokio is not compiled in; build with --features tokio";
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        if let (Some(index), Some(dir)) = (child, dir) {
            return Role::Child(Member { group, index, ports, dir });
        }
        if let Some(dir) = &keep
            && !is_free(dir)
        {
            let message =
                format!("--keep {}: it must be an empty directory or not exist", dir.display());
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        Role::Parent(ParentOptions { group, timeout_s, keep })
    }
}

impl GroupArgs {
    /// The same options as a command line.
    pub(crate) fn to_command_line(&self) -> Vec<String> {
        let Self {
            participants,
            messages,
            loss,
            dup,
            reorder_ms,
            seed,
            dialect,
            driver,
            no_repair,
        } = self;
        let mut line = vec![
            format!("--participants={participants}"),
            format!("--messages={messages}"),
            format!("--loss={loss}"),
            format!("--dup={dup}"),
            format!("--reorder-ms={reorder_ms}"),
            format!("--seed={seed}"),
            format!("--dialect={}", as_given(dialect)),
            format!("--driver={}", as_given(driver)),
        ];
        if *no_repair {
            line.push("--no-repair".into());
        }
        line
    }
}

/// An option's value as it stands on the command line.
fn as_given(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}

fn is_free(dir: &Path) -> bool {
    !dir.exists() || dir.read_dir().is_ok_and(|mut entries| entries.next().is_none())
}
