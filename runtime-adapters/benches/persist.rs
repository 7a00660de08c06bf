//! Messages that a node publishes in a second with its state in a SQLite file.
//!
//! `benches/README.md` explains the figures.

#![allow(clippy::print_stdout, reason = "this program's output is its table")]

use core::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use sds_proto::{Config, ConfigError, Dialect, Durability, Event};
use sds_runtime::event_loop::EventLoop;
use sds_runtime::store::Sqlite;
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Options, Wait};
use tempfile::TempDir;

const CHANNEL: &str = "bench";
/// Messages published before the first of them was delivered, at most.
const IN_FLIGHT: usize = 256;

/// Publishes messages as fast as a node takes them, and says how many were safe in a second.
#[derive(Parser)]
struct Args {
    /// Messages of each run; a twentieth of them where one waits for the other.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    messages: u32,
    /// Runs of each kind, of which the fastest counts: others on the machine only make it slower.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// A directory on the disk to be measured. Default: that for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works.
    #[arg(long)]
    test: bool,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of run.
#[derive(Clone, Copy)]
struct Kind {
    durability: Durability,
    dialect: Dialect,
    in_flight: usize,
}

struct Outcome {
    seconds: f64,
    /// Writes of the store.
    writes: u64,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("persist: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (messages, runs) = if args.test { (200, 1) } else { (args.messages, args.runs) };
    let dir = args.dir.unwrap_or_else(std::env::temp_dir);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "durability",
        "dialect",
        "in flight",
        "messages/s",
        "messages a write",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for kind in kinds() {
        let messages = if kind.in_flight == 1 { messages / 20 } else { messages };
        let mut fastest = run(kind, messages, &dir)?;
        for _ in 1..runs {
            let outcome = run(kind, messages, &dir)?;
            if outcome.seconds < fastest.seconds {
                fastest = outcome;
            }
        }
        let Outcome { seconds, writes } = fastest;
        // Otherwise what is left when all is delivered is not counted.
        let a_write = if kind.durability == Durability::Strict {
            format!("{:.1}", f64::from(messages) / writes as f64)
        } else {
            "–".into()
        };
        table.add_row([
            format!("{:?}", kind.durability),
            format!("{:?}", kind.dialect),
            kind.in_flight.to_string(),
            format!("{:.0}", f64::from(messages) / seconds),
            a_write,
        ]);
    }
    println!(
        "{messages} messages of 64 bytes, fastest of {runs} runs, on {}\n{table}",
        dir.display()
    );
    Ok(())
}

fn kinds() -> impl Iterator<Item = Kind> {
    let durabilities = [Durability::None, Durability::Relaxed, Durability::Strict];
    [Dialect::NimSds, Dialect::Lip109].into_iter().flat_map(move |dialect| {
        let kind = move |durability, in_flight| Kind { durability, dialect, in_flight };
        let many = durabilities.map(|durability| kind(durability, IN_FLIGHT));
        many.into_iter().chain([kind(Durability::Strict, 1)])
    })
}

/// Roomy bounds, and nothing that is due on its own.
fn config(kind: Kind) -> Result<Config, ConfigError> {
    Config::builder()
        .participant_id("author".into())
        .dialect(kind.dialect)
        .durability(kind.durability)
        .max_outgoing(1 << 20)
        .max_log_messages(1 << 20)
        .max_ids(2 << 20)
        .build()
}

/// Publishes until all is delivered, and stored as far as it is to be.
fn run(kind: Kind, messages: u32, dir: &Path) -> Result<Outcome, Box<dyn Error>> {
    let place = TempDir::with_prefix_in("sds-persist", dir);
    let place = place.map_err(|error| format!("--dir {}: {error}", dir.display()))?;
    let options = Options::default().flush(core::time::Duration::from_secs(600));
    let options = if kind.durability == Durability::None {
        options
    } else {
        options.store(Sqlite::open(place.path().join("node.db"))?)
    };
    let event_loop = EventLoop::new()?;
    let transport = MemoryGroup::new(1).join();
    let (handle, mut events) = event_loop.spawn(config(kind)?, transport, options)?;
    handle.open(CHANNEL).wait()?;
    let (delivered, may_publish) = mpsc::channel();
    (0..kind.in_flight).try_for_each(|_| delivered.send(()))?;

    let start = Instant::now();
    let listener = thread::spawn(move || {
        let deliveries = events.iter().filter(
            |event| matches!(event, DriverEvent::Node(Event::Deliver(delivery)) if delivery.own),
        );
        for _ in deliveries.take(messages as usize) {
            // Once all is published nobody hears of the last ones.
            _ = delivered.send(());
        }
    });
    for number in 0..messages {
        may_publish.recv()?;
        handle
            .publish(CHANNEL, format!("550e8400-e29b-41d4-a716-{number:012}"), &[7; 64][..])
            .wait()?;
    }
    listener.join().map_err(|_| "the listener panicked")?;
    let metrics = handle.metrics().wait()?;
    // The rest is stored then.
    handle.shutdown().wait();
    Ok(Outcome { seconds: start.elapsed().as_secs_f64(), writes: metrics.store_writes })
}
