//! Starts the participants, watches them, stops them, and has their files judged.

use core::error::Error;
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::args::{GroupArgs, ParentOptions};
use crate::children::{Children, News};
use crate::judge;
use crate::pipe::{Order, Progress, Report};
use crate::profile::name;
use crate::record::{Figure, GROUP};
use crate::report;
use crate::seal::SealedWriter;

/// A group that has all messages is given this long without progress to hear that it has.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// A group without repair is stopped after this long without progress.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Runs a group and judges it.
pub(crate) fn run(options: &ParentOptions) -> Result<ExitCode, Box<dyn Error>> {
    let ParentOptions { group, timeout_s, keep } = options;
    let temporary;
    let dir = match keep {
        Some(dir) => dir.as_path(),
        None => {
            temporary = TempDir::with_prefix("lossy_group")?;
            temporary.path()
        }
    };
    fs::create_dir_all(dir)?;
    write_group(dir, group)?;
    let mut children = Children::start(group, dir)?;
    let deadline = Instant::now() + Duration::from_secs(*timeout_s);
    children.tell(Order::Start);
    Watch::new(group).until_over(&children, deadline);
    children.tell(Order::Stop);
    children.wait();
    report::print(&judge::judge(dir)?)
}

fn write_group(dir: &Path, group: &GroupArgs) -> std::io::Result<()> {
    let mut file = SealedWriter::create(&dir.join(GROUP))?;
    file.line(Figure::new("participants", group.participants))?;
    file.line(Figure::new("messages", group.messages))?;
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
    fn until_over(mut self, children: &Children, deadline: Instant) {
        while Instant::now() < deadline && !self.is_over() {
            match children.news(Duration::from_millis(100)) {
                Some(News::Said(index, Report::Progress(progress))) => self.note(index, progress),
                // A group that is not whole cannot converge.
                Some(News::Gone(_)) => break,
                Some(News::Said(_, Report::Ready | Report::PortTaken)) | None => {}
            }
        }
        // The table follows in their place.
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
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
