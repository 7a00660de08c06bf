//! Starts the participants, watches them, kills some, stops them, and has their files judged.

use core::error::Error;
use core::time::Duration;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::args::{GroupArgs, ParentOptions, Store};
use crate::children::{Children, Setup};
use crate::crashes::Crashes;
use crate::folder::Folder;
use crate::judge;
use crate::pipe::{Progress, Report};
use crate::profile::{self, name};
use crate::record::{ANONYMOUS, Figure, GROUP};
use crate::report;
use crate::seal::SealedWriter;

/// A group that has all messages is given this long without progress to hear that it has.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// A group without repair is stopped after this long without progress.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Runs a group and judges it.
pub(crate) fn run(options: &ParentOptions) -> Result<ExitCode, Box<dyn Error>> {
    let ParentOptions { group, timeout_s, keep, crash, store_dir } = options;
    let records = Folder::create("--keep", keep.as_ref())?;
    let in_files = group.store == Some(Store::Sqlite);
    let stores = in_files.then(|| Folder::create("--store-dir", store_dir.as_ref())).transpose()?;
    write_group(records.path(), group)?;
    let mut crashes = Crashes::plan(group, *crash, records.path())?;
    let stores = stores.as_ref().map(Folder::path);
    let mut children = Children::start(Setup { group, records: records.path(), stores })?;
    let deadline = Instant::now() + Duration::from_secs(*timeout_s);
    children.begin();
    Watch::new(group).until_over(&mut children, &mut crashes, deadline)?;
    children.stop()?;
    crashes.seal()?;
    report::print(&judge::judge(records.path())?)
}

fn write_group(dir: &Path, group: &GroupArgs) -> std::io::Result<()> {
    let mut file = SealedWriter::create(&dir.join(GROUP))?;
    file.line(Figure::new("participants", group.participants))?;
    file.line(Figure::new("messages", group.messages))?;
    if profile::leaves_senders_out(group) {
        file.line(Figure::new(ANONYMOUS, 1_u32))?;
    }
    file.seal()
}

/// Follows the participants' progress and shows it.
struct Watch {
    progress: Vec<Progress>,
    bars: Vec<ProgressBar>,
    /// Messages of each participant, and of all.
    each: u64,
    all: u64,
    stuck_after: Duration,
    last_progress: Instant,
}

impl Watch {
    fn new(group: &GroupArgs) -> Self {
        let participants = group.participants as usize;
        let each = u64::from(group.messages);
        let all = u64::from(group.participants) * each;
        let screen = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:>4} {wide_bar} {pos}/{len} {msg}");
        let bar = |index| {
            let bar = screen.add(ProgressBar::new(all)).with_prefix(name(index));
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            bar
        };
        Self {
            progress: vec![Progress::default(); participants],
            bars: (0..participants).map(bar).collect(),
            each,
            all,
            stuck_after: if group.no_repair { STUCK_AFTER } else { Duration::MAX },
            last_progress: Instant::now(),
        }
    }

    /// Returns when there is nothing more to wait for.
    fn until_over(
        mut self,
        children: &mut Children<'_>,
        crashes: &mut Crashes,
        deadline: Instant,
    ) -> Result<(), Box<dyn Error>> {
        while Instant::now() < deadline && !(self.is_over() && crashes.is_over()) {
            if let Some((index, Report::Progress(progress))) = children.progress()? {
                crashes.note(index, progress.delivered);
                self.note(index, progress);
            }
            while let Some(index) = crashes.next() {
                children.crash(index)?;
                crashes.record(index, self.progress[index].delivered)?;
                self.killed(index);
            }
        }
        // The table follows in their place.
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        Ok(())
    }

    /// Its progress is unknown until it is back.
    fn killed(&mut self, index: usize) {
        self.progress[index] = Progress::default();
        self.last_progress = Instant::now();
        self.bars[index].set_message("killed");
    }

    fn note(&mut self, index: usize, progress: Progress) {
        if self.progress[index] == progress {
            return;
        }
        self.progress[index] = progress;
        self.last_progress = Instant::now();
        self.bars[index].set_position(progress.delivered);
        let Progress { acknowledged, .. } = progress;
        self.bars[index].set_message(format!("{acknowledged}/{} acknowledged", self.each));
    }

    fn is_over(&self) -> bool {
        let quiet = self.last_progress.elapsed();
        if self.progress.iter().any(|progress| progress.delivered < self.all) {
            return quiet > self.stuck_after;
        }
        let all_know = self.progress.iter().all(|progress| progress.acknowledged >= self.each);
        all_know || quiet > SETTLED_AFTER
    }
}
