//! Kills, restarts, and what is looked at between them.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::args::{Member, Trial};
use crate::children::{Children, News, free_ports};
use crate::disk::Disk;
use crate::group::{PARTICIPANTS, name};
use crate::ledger::{Ledger, Problem};
use crate::pipe::{Order, Report, State};

/// Longest life under load before a kill.
const MAX_LIFE: Duration = Duration::from_millis(100);
/// Longest life when it is killed while it starts.
const MAX_START: Duration = Duration::from_millis(30);
/// One kill in so many is followed by another one while it starts.
const KILLED_AGAIN: u32 = 6;
/// After so many kills something must have been at stake.
const ENOUGH: u32 = 20;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Result of a trial.
pub(crate) struct Summary {
    kills: u32,
    messages: usize,
    redeliveries: u64,
    /// Own messages that nobody had acknowledged when their author was killed.
    resumed: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, messages, redeliveries, resumed } = self;
        write!(
            f,
            "{kills} kills: {messages} messages, none lost; {resumed} unacknowledged ones \
             resumed; {redeliveries} told again, marked"
        )
    }
}

/// Runs all rounds.
pub(crate) fn run(trial: &Trial) -> Result<Summary, Problem> {
    let mut rounds = Rounds::start(trial)?;
    let bar = ProgressBar::new(trial.rounds.into());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} kills {msg}") {
        bar.set_style(style);
    }
    for round in 1..=trial.rounds {
        rounds.round().map_err(|problem| problem.in_round(round))?;
        bar.set_message(format!("{} messages", rounds.ledger.messages()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    rounds.finish()
}

struct Rounds {
    rng: fastrand::Rng,
    members: Vec<Member>,
    children: Children,
    /// As each has said last.
    states: Vec<Option<State>>,
    /// Orders that each was given in its life.
    orders: Vec<u64>,
    ready: Vec<bool>,
    gone: Vec<bool>,
    /// The participants that were killed or told to end.
    ending: Vec<bool>,
    /// Own messages that were acknowledged.
    acked: BTreeSet<String>,
    ledger: Ledger,
    kills: u32,
    resumed: usize,
    _dir: TempDir,
}

/// The remains of a killed participant.
struct Left {
    index: usize,
    /// The life that ended.
    life: u32,
    disk: Disk,
}

impl Rounds {
    fn start(trial: &Trial) -> Result<Self, Problem> {
        let dir = TempDir::with_prefix("sds-kill")?;
        let ports = free_ports(PARTICIPANTS)?;
        let member = |index| Member {
            index,
            life: 0,
            ports: ports.clone(),
            file: dir.path().join(name(index)),
            driver: trial.driver,
            seed: trial.seed,
            hasty: trial.hasty,
        };
        let members: Vec<_> = (0..PARTICIPANTS).map(member).collect();
        let mut rounds = Self {
            rng: fastrand::Rng::with_seed(trial.seed),
            members,
            children: Children::new(PARTICIPANTS),
            states: vec![None; PARTICIPANTS],
            orders: vec![0; PARTICIPANTS],
            ready: vec![false; PARTICIPANTS],
            gone: vec![false; PARTICIPANTS],
            ending: vec![false; PARTICIPANTS],
            acked: BTreeSet::new(),
            ledger: Ledger::default(),
            kills: 0,
            resumed: 0,
            _dir: dir,
        };
        for member in &rounds.members {
            rounds.children.start(member)?;
        }
        rounds.until("all are ready", |rounds| rounds.ready.iter().all(|ready| *ready))?;
        Ok(rounds)
    }

    /// Load, a kill, a restart, quiet, and a look at everything.
    fn round(&mut self) -> Result<(), Problem> {
        let victim = self.rng.usize(..PARTICIPANTS);
        (0..PARTICIPANTS).for_each(|index| self.tell(index, Order::Publish));
        self.listen_for(MAX_LIFE)?;
        let mut left = vec![self.kill(victim)?];
        self.restart(victim)?;
        while self.rng.u32(..KILLED_AGAIN) == 0 {
            self.listen_for(MAX_START)?;
            left.push(self.kill(victim)?);
            self.restart(victim)?;
        }
        self.until("it is ready again", |rounds| rounds.ready[victim])?;
        self.tell(victim, Order::Publish);
        self.listen_for(MAX_LIFE)?;
        (0..PARTICIPANTS).for_each(|index| self.tell(index, Order::Pause));
        self.until("all have everything and all is acknowledged", Self::is_settled)?;
        for Left { index, life, disk } in &left {
            self.ledger.check_heard(*index, *life, disk)?;
        }
        // Of those before the last kill it may have been said to a life that could not pass it on.
        self.check_resumed(&left[left.len() - 1].disk)
    }

    fn tell(&mut self, index: usize, order: Order) {
        self.orders[index] += 1;
        self.children.tell(index, order);
    }

    /// Kills a participant and reads what it left.
    fn kill(&mut self, index: usize) -> Result<Left, Problem> {
        self.ending[index] = true;
        self.children.kill(index)?;
        self.kills += 1;
        self.until("all that it said is heard", |rounds| rounds.gone[index])?;
        let Member { life, file, .. } = &self.members[index];
        let disk = Disk::read(file).map_err(|error| {
            Problem::Other(format!("the file of {} is of no use: {error}", name(index)))
        })?;
        self.ledger.check_told(index, &disk)?;
        if let Some(id) = disk.outgoing.iter().find(|id| self.acked.contains(*id)) {
            let who = name(index);
            return Err(Problem::Loss(format!("{who} forgot that {id} was acknowledged")));
        }
        Ok(Left { index, life: *life, disk })
    }

    fn restart(&mut self, index: usize) -> Result<(), Problem> {
        self.members[index].life += 1;
        (self.ready[index], self.gone[index], self.ending[index]) = (false, false, false);
        (self.orders[index], self.states[index]) = (0, None);
        Ok(self.children.start(&self.members[index])?)
    }

    /// Waits until all that was unacknowledged in a file is said to be acknowledged. The state of a
    /// participant and its events come from two threads, so either may be heard first.
    fn check_resumed(&mut self, disk: &Disk) -> Result<(), Problem> {
        self.resumed += disk.outgoing.len();
        let said = |rounds: &Self| disk.outgoing.iter().all(|id| rounds.acked.contains(id));
        self.until("all that was unacknowledged is said to be acknowledged", said)
    }

    /// Whether all logs are equal, everybody was told all of it, and nobody waits for anything.
    fn is_settled(&self) -> bool {
        self.states.iter().enumerate().all(|(index, state)| {
            state.as_ref().is_some_and(|state| {
                state.obeyed == self.orders[index]
                    && state.delivered == self.ledger.messages() as u64
                    && (state.outgoing, state.waiting) == (0, 0)
                    && self.ledger.has_told_all(index, &state.digest)
            })
        })
    }

    fn finish(mut self) -> Result<Summary, Problem> {
        self.ending.fill(true);
        self.children.shut_down();
        self.until("all have shut down", |rounds| rounds.gone.iter().all(|gone| *gone))?;
        let mut disks = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            if !self.children.ended_well(index)? {
                return Err(Problem::Other(format!("{} did not end well", name(index))));
            }
            let disk = Disk::read(&member.file);
            disks.push(disk.map_err(|error| Problem::Other(error.to_string()))?);
        }
        self.ledger.check_files(&disks)?;
        let Self { kills, resumed, ledger, .. } = self;
        let (messages, redeliveries) = (ledger.messages(), ledger.redeliveries);
        let summary = Summary { kills, messages, redeliveries, resumed };
        if kills >= ENOUGH && (resumed == 0 || redeliveries == 0) {
            return Err(Problem::Other(format!("nothing was at stake: {summary}")));
        }
        Ok(summary)
    }

    /// Listens for a random time.
    fn listen_for(&mut self, at_most: Duration) -> Result<(), Problem> {
        let until = Instant::now() + at_most.mul_f64(self.rng.f64());
        while let Some((index, news)) = self.children.news(until) {
            self.note(index, news)?;
        }
        Ok(())
    }

    /// Listens until something is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), Problem> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let Some((index, news)) = self.children.news(deadline) else {
                let (messages, states) = (self.ledger.messages(), &self.states);
                return Err(Problem::Other(format!(
                    "not within {PATIENCE:?}: {what}; {messages} messages, {states:?}"
                )));
            };
            self.note(index, news)?;
        }
        Ok(())
    }

    fn note(&mut self, index: usize, news: News) -> Result<(), Problem> {
        match news {
            News::Said(Report::Ready) => self.ready[index] = true,
            News::Said(Report::Delivered(delivered)) => {
                return self.ledger.delivered(index, delivered);
            }
            News::Said(Report::Acked(id)) => drop(self.acked.insert(id)),
            News::Said(Report::State(state)) => self.states[index] = Some(state),
            News::Said(Report::Trouble(trouble)) => {
                return Err(Problem::Other(format!("{} says: {trouble}", name(index))));
            }
            News::Gone if self.ending[index] => self.gone[index] = true,
            News::Gone => {
                return Err(Problem::Other(format!("{} ended by itself", name(index))));
            }
        }
        Ok(())
    }
}
