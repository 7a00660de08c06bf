//! Figures of the firmware (flash, memory, time) and their comparison with the recorded ones.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, elf};
use sds_firmware::frame::{Status, Work};

use crate::group::Report;
use crate::qemu::{CYCLE_NS, INSTRUCTION_NS};

/// Maximum growth of a figure over the recorded one, in per cent.
const MARGIN: u64 = 10;

/// A figure's name and value.
pub(crate) type Figure = (&'static str, u64);

/// All figures of the firmware and its runs.
pub(crate) fn all(firmware: &Path, runs: &[Report]) -> Result<Vec<Figure>> {
    let (image, node) = sizes(firmware)?;
    let starts: Vec<Status> = runs.iter().flat_map(|run| run.starts.iter().copied()).collect();
    let last = starts.last().copied().context("there was no run")?;
    let most = |of: fn(&Status) -> u32| starts.iter().map(of).max().unwrap_or_default().into();
    let (heard, heard_longest) = work(&starts, |status| status.datagrams);
    let (published, published_longest) = work(&starts, |status| status.published);
    let (written, written_longest) = work(&starts, |status| status.writes);
    Ok(vec![
        ("flash: whole image, bytes", image),
        ("flash: functions and tables of sds-proto, bytes", node),
        ("heap: most in use at once, bytes", most(|status| status.heap_peak)),
        ("heap: in use at the end of a run, bytes", last.heap_used.into()),
        ("heap: idle channel, bytes", last.idle.into()),
        ("heap: idle channel with one message, nim dialect, bytes", last.idle_nim.into()),
        ("heap: idle channel with one message, LIP-109, bytes", last.idle_lip109.into()),
        ("instructions: to take in a datagram", heard),
        ("instructions: to take in a datagram, at most", heard_longest),
        ("instructions: to publish a message", published),
        ("instructions: to publish a message, at most", published_longest),
        ("instructions: to write to the journal", written),
        ("instructions: to write to the journal, at most", written_longest),
    ])
}

/// As rows of a table.
pub(crate) fn table(figures: &[Figure]) -> String {
    figures.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect()
}

/// Compares with the rows of a table in a file.
pub(crate) fn check(figures: &[Figure], recorded: &Path) -> Result<()> {
    let text = fs::read_to_string(recorded)
        .with_context(|| format!("the recorded figures, {}", recorded.display()))?;
    let mut grown = Vec::new();
    for (name, value) in figures {
        let row = format!("| {name} | ");
        let found = text.lines().find_map(|line| line.strip_prefix(&row)?.strip_suffix(" |"));
        let found = found.with_context(|| format!("{} has no '{name}'", recorded.display()))?;
        let recorded: u64 = found.parse().with_context(|| format!("'{name}' is '{found}'"))?;
        if *value > recorded + recorded * MARGIN / 100 {
            grown.push(format!("{name}: {value}, recorded {recorded}"));
        }
    }
    if grown.is_empty() {
        println!("\nno figure is more than {MARGIN} % above the recorded one");
        return Ok(());
    }
    bail!("grown by more than {MARGIN} %:\n{}", grown.join("\n"))
}

/// Instructions of one, on average and at most.
fn work(starts: &[Status], of: fn(&Status) -> Work) -> (u64, u64) {
    let all: Vec<Work> = starts.iter().map(of).collect();
    let count: u64 = all.iter().map(|work| u64::from(work.count)).sum();
    let total: u64 = all.iter().map(|work| work.total).sum();
    let longest = all.iter().map(|work| work.longest).max().unwrap_or_default();
    let instructions = |cycles| cycles * CYCLE_NS / INSTRUCTION_NS;
    (instructions(total) / count.max(1), instructions(longest.into()))
}

/// Returns the bytes loaded into flash memory: all of them, and those of symbols of `sds_proto`.
fn sizes(firmware: &Path) -> Result<(u64, u64)> {
    let bytes = fs::read(firmware).with_context(|| format!("{}", firmware.display()))?;
    let file = object::File::parse(&*bytes).context("the firmware is no ELF file")?;
    let is_loaded = |flags| {
        let loaded = u64::from(elf::SHF_ALLOC);
        matches!(flags, SectionFlags::Elf { sh_flags } if sh_flags & loaded != 0)
    };
    let loaded = file.sections().filter(|section| is_loaded(section.flags()));
    let loaded = loaded.filter(|section| section.kind() != SectionKind::UninitializedData);
    let image = loaded.map(|section| section.size()).sum();
    let of_node = |name: &str| name.contains("sds_proto");
    let symbols = file.symbols().filter(|symbol| symbol.name().is_ok_and(of_node));
    Ok((image, symbols.map(|symbol| symbol.size()).sum()))
}
