//! The command line.

use core::fmt::Display;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// Participants in processes of their own publish into one group over real UDP sockets with
/// injected loss, duplication and reordering, and end up with equal logs; also if some of them are
/// killed meanwhile and come back with what their stores kept.
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
    /// Kill this many participants at random moments, and start them again: different ones as far
    /// as there are. From 0 to 100; needs `--store sqlite`.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    crash: u32,
    /// Keep the SQLite files, `p0.db` and so on, in this directory, which must be empty or not
    /// exist; needs `--store sqlite`. Default: a temporary one.
    #[arg(long, value_name = "DIR")]
    store_dir: Option<PathBuf>,
    /// Run no group: judge the files of an earlier one that were kept in this directory.
    #[arg(long, value_name = "DIR", exclusive = true)]
    judge: Option<PathBuf>,
    /// Be the participant with this index.
    #[arg(long, hide = true, requires = "ports", requires = "dir")]
    child: Option<usize>,
    /// Number of starts of the participant, this one included.
    #[arg(long, hide = true, default_value_t = 1)]
    life: u32,
    /// Ports of all participants.
    #[arg(long, hide = true, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Folder of the participant's files.
    #[arg(long, hide = true)]
    dir: Option<PathBuf>,
}

/// Properties of the group, the same for parent and children.
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
    /// Seed of faults, contents, back-offs and crashes.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    pub(crate) seed: u64,
    /// Dialect of the messages.
    #[arg(long, value_enum, default_value_t = Spoken::Lip109)]
    pub(crate) dialect: Spoken,
    /// The form of what is sent in the nim dialect, by the version of nim-sds.
    #[arg(long, value_enum, default_value_t = Form::V04)]
    pub(crate) nim_form: Form,
    /// Driver of each participant's node.
    #[arg(long, value_enum, default_value_t = Driver::Smol)]
    pub(crate) driver: Driver,
    /// Store of each participant's node: no effect leaves a node before the changes it depends on
    /// are persisted. Default: none.
    #[arg(long, value_enum)]
    pub(crate) store: Option<Store>,
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

/// The forms of the nim dialect.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Bare ids, and nothing beside them.
    #[value(name = "0.2")]
    V02,
    /// Entries, which later versions take for ids.
    #[value(name = "0.3.0")]
    V030,
    /// That of the Status app: hints, and neither senders nor requests.
    #[value(name = "0.3.3")]
    V033,
    /// That of logos-delivery.
    #[value(name = "0.4")]
    V04,
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

/// The stores of sds-runtime.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    /// In memory: gone with the process.
    Memory,
    /// In a SQLite file each.
    Sqlite,
}

/// The task of this process.
pub(crate) enum Role {
    /// Run a group and judge it.
    Parent(ParentOptions),
    /// Take part in a group.
    Child(Member),
    /// Judge the files in this directory.
    Judge(PathBuf),
}

/// Options of the parent.
#[derive(Debug)]
pub(crate) struct ParentOptions {
    pub(crate) group: GroupArgs,
    pub(crate) timeout_s: u64,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) crash: u32,
    pub(crate) store_dir: Option<PathBuf>,
}

/// Options of one participant.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) group: GroupArgs,
    pub(crate) index: usize,
    pub(crate) life: u32,
    pub(crate) ports: Vec<u16>,
    pub(crate) dir: PathBuf,
    pub(crate) store_dir: Option<PathBuf>,
}

impl Args {
    /// Reads the command line; complains and exits if it makes no sense.
    pub(crate) fn role() -> Role {
        let args = Self::parse();
        let Self { group, timeout_s, keep, crash, store_dir, judge, child, life, ports, dir } =
            args;
        if let Some(dir) = judge {
            return Role::Judge(dir);
        }
        if group.driver == Driver::Tokio && !cfg!(feature = "tokio") {
            refuse("--driver tokio: tokio is not compiled in; build with --features tokio");
        }
        if group.store != Some(Store::Sqlite) {
            if crash > 0 {
                refuse("--crash: without a file nobody comes back as it was; add --store sqlite");
            }
            if store_dir.is_some() {
                refuse("--store-dir: there are no files to keep; add --store sqlite");
            }
        }
        if let (Some(index), Some(dir)) = (child, dir) {
            return Role::Child(Member { group, index, life, ports, dir, store_dir });
        }
        for (option, dir) in [("--keep", &keep), ("--store-dir", &store_dir)] {
            if let Some(dir) = dir.as_ref().filter(|dir| !is_free(dir)) {
                let dir = dir.display();
                refuse(format!("{option} {dir}: it must be an empty directory or not exist"));
            }
        }
        Role::Parent(ParentOptions { group, timeout_s, keep, crash, store_dir })
    }
}

/// Says what is wrong with the command line, and exits.
fn refuse(message: impl Display) -> ! {
    Args::command().error(ErrorKind::ValueValidation, message).exit()
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
            nim_form,
            driver,
            store,
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
            format!("--nim-form={}", as_given(nim_form)),
            format!("--driver={}", as_given(driver)),
        ];
        line.extend(store.map(|store| format!("--store={}", as_given(&store))));
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
