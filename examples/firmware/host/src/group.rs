//! A run: the board, two participants, the air between them, and the power.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};
use bytes::Bytes;
use fastrand::Rng;
use sds_firmware::frame::{Boot, Cut, FromBoard, Status, TURN_MS, ToBoard};

use crate::air::{Air, MEMBERS};
use crate::participant::{Participant, START};
use crate::qemu::Qemu;

/// The board's place among the members; the others come before it.
const BOARD: usize = MEMBERS - 1;
/// Turns from one message of a participant to its next.
const PUBLISH_EVERY: u64 = 2_000 / TURN_MS as u64;
/// Turns that the power stays away.
const POWERLESS: u64 = 5_000 / TURN_MS as u64;
/// Turns after which a run has failed: four hours.
const LAST_TURN: u64 = 4 * 3_600_000 / TURN_MS as u64;

/// Number of power failures, and of those in the middle of a write.
const POWER_CUTS: usize = 4;
const TORN_WRITES: u32 = 3;

/// Parameters of a run.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Messages of each member.
    pub(crate) messages: u32,
    /// Datagrams lost, in per cent.
    pub(crate) loss: u32,
    /// Whether the board knows the time of day.
    pub(crate) has_clock: bool,
}

/// An entry of a log.
#[derive(PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) message_id: Vec<u8>,
    pub(crate) sender_id: Vec<u8>,
    pub(crate) lamport: u64,
    pub(crate) content: Vec<u8>,
}

/// A run.
pub(crate) struct Group {
    plan: Plan,
    qemu: Qemu,
    participants: [Participant; BOARD],
    air: Air,
    rng: Rng,
    turn: u64,
    /// Datagrams of the board in its turn.
    said: Vec<Bytes>,
    dumped: Vec<LogLine>,
    /// The last status of each start of the board.
    starts: Vec<Status>,
    /// The failures of the power to come, and the length of the board's log at which each is
    /// ordered.
    cuts: VecDeque<(u32, Cut)>,
    /// Starts of the board that found a write cut off.
    torn: u32,
}

/// Report of a run.
pub(crate) struct Report {
    pub(crate) starts: Vec<Status>,
    logged: usize,
    turns: u64,
    torn: u32,
    lost: u64,
    repeated: u64,
}

impl Group {
    pub(crate) fn start(firmware: &Path, plan: Plan) -> Result<Self> {
        let mut rng = Rng::with_seed(plan.seed);
        let all = plan.messages * MEMBERS as u32;
        let cuts: [_; POWER_CUTS] = [
            (all / 4, Cut::Words(rng.u32(3..9))), // in the middle of an entry
            (0, Cut::WordsAfterErase(rng.u32(20..100))), // while that is got over
            (all / 2, Cut::Words(rng.u32(3..9))),
            (all * 3 / 4, Cut::Now),
        ];
        Ok(Self {
            plan,
            qemu: Qemu::start(firmware)?,
            participants: ["alice", "bob"].map(|name| Participant::new(name, rng.u64(..))),
            air: Air::new(rng.u64(..), plan.loss),
            turn: 0,
            said: Vec::new(),
            dumped: Vec::new(),
            starts: Vec::new(),
            cuts: cuts.into(),
            torn: 0,
            rng,
        })
    }

    /// Runs until all logs hold all messages.
    pub(crate) fn run(mut self) -> Result<Report> {
        self.hear_board()?;
        while !self.is_done() {
            if self.turn >= LAST_TURN {
                bail!("after four hours: {}", self.state());
            }
            self.turn()?;
        }
        self.qemu.say(&ToBoard::Dump);
        self.turn()?;

        let logs = [self.participants[0].log(), self.participants[1].log(), self.dumped];
        let all = self.plan.messages as usize * MEMBERS;
        if let Some(which) = logs.iter().position(|log| log.len() != all || *log != logs[0]) {
            bail!("log {which} differs, with {} entries of {all}", logs[which].len());
        }
        let torn = self.torn;
        if torn != TORN_WRITES {
            bail!("{torn} writes were found cut off instead of {TORN_WRITES}");
        }
        Ok(Report {
            starts: self.starts,
            torn,
            logged: all,
            turns: self.turn,
            lost: self.air.lost,
            repeated: self.air.repeated,
        })
    }
    fn is_done(&self) -> bool {
        let all = self.plan.messages * MEMBERS as u32;
        let board = self.board();
        let same = self.participants.iter().all(|member| member.digest() == board.digest);
        same && board.logged == all && self.failures() == POWER_CUTS
    }

    /// One turn: what came over the air arrives, everybody does what is due.
    fn turn(&mut self) -> Result<()> {
        self.turn += 1;
        for datagram in std::mem::take(&mut self.said) {
            self.air.send(self.turn, BOARD, &datagram);
        }
        for datagram in self.others() {
            if self.rng.u32(..100) == 0 {
                let bit = self.rng.u32(..);
                self.qemu.say_damaged(&ToBoard::Datagram(&datagram), bit);
            } else {
                self.qemu.say(&ToBoard::Datagram(&datagram));
            }
        }
        if let Some(cut) = self.next_cut() {
            self.qemu.say(&ToBoard::CutPower(cut));
        }
        self.qemu.say(&ToBoard::Turn);
        self.qemu.flush()?;
        self.hear_board()
    }

    /// The next failure of the power, if it is to be ordered now: when the one before is over.
    fn next_cut(&mut self) -> Option<Cut> {
        let (at, cut) = self.cuts.front().copied()?;
        let ordered = POWER_CUTS - self.cuts.len();
        if at > self.board().logged || ordered > self.failures() {
            return None;
        }
        self.cuts.pop_front();
        Some(cut)
    }

    /// Returns the number of power failures.
    fn failures(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The turn of the two others. Gives what arrives at the board.
    fn others(&mut self) -> Vec<Bytes> {
        let mut for_board = Vec::new();
        for (to, datagram) in self.air.arrived(self.turn) {
            match self.participants.get_mut(to) {
                Some(participant) => participant.hear(self.turn, datagram),
                None => for_board.push(datagram),
            }
        }
        for (from, participant) in self.participants.iter_mut().enumerate() {
            let its_turn = self.turn % PUBLISH_EVERY == from as u64;
            if its_turn && participant.published() < self.plan.messages {
                participant.publish(self.turn);
            }
            for datagram in participant.tick(self.turn) {
                self.air.send(self.turn, from, &datagram);
            }
        }
        for_board
    }

    /// Hears the board to the end of its turn, through as many failures of its power as there are.
    fn hear_board(&mut self) -> Result<()> {
        loop {
            let Self { said, dumped, starts, torn: torn_writes, .. } = self;
            let event = self.qemu.hear(|message| match message {
                FromBoard::Hello => Event::Started,
                FromBoard::Journal { torn } => {
                    *torn_writes += u32::from(torn);
                    Event::None
                }
                FromBoard::Datagram(bytes) => {
                    said.push(Bytes::copy_from_slice(bytes));
                    Event::None
                }
                FromBoard::Entry { message_id, sender_id, lamport, content } => {
                    let [message_id, sender_id, content] =
                        [message_id, sender_id, content].map(<[u8]>::to_vec);
                    dumped.push(LogLine { message_id, sender_id, lamport, content });
                    Event::None
                }
                FromBoard::Turn(status) => {
                    if let Some(start) = starts.last_mut() {
                        *start = status;
                    }
                    Event::Turn
                }
            })?;
            match event {
                Event::None => {}
                Event::Turn => return Ok(()),
                Event::Started => self.boot()?,
            }
        }
    }

    /// The board has started; until it had its power back, the others went on.
    fn boot(&mut self) -> Result<()> {
        let powerless = if self.starts.is_empty() { 0 } else { POWERLESS };
        for _ in 0..powerless {
            self.turn += 1;
            let _unheard = self.others();
        }
        self.starts.push(Status::default());
        let cut = self.next_cut();
        let now = START + self.turn * u64::from(TURN_MS);
        self.qemu.say(&ToBoard::Boot(Boot {
            seed: self.rng.u64(..),
            wall: self.plan.has_clock.then_some(now),
            messages: self.plan.messages,
            cut,
        }));
        self.qemu.say(&ToBoard::Turn);
        self.qemu.flush()
    }

    /// Returns the last status of the board.
    fn board(&self) -> Status {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Describes the state of a run that does not end.
    fn state(&self) -> String {
        let logged: Vec<usize> =
            self.participants.iter().map(|member| member.log().len()).collect();
        let (board, cuts) = (self.board().logged, self.cuts.len());
        format!("the logs have {logged:?} entries, the board's {board}; {cuts} power cuts to come")
    }
}

/// A message of a board that has consequences.
enum Event {
    None,
    Started,
    Turn,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.turns * u64::from(TURN_MS) / 1_000;
        let damaged: u32 = self.starts.iter().map(|start| start.damaged).sum();
        write!(
            f,
            "3 logs of {} entries are identical after {seconds} s of the board's time, \
             {} datagrams lost, {} repeated, {damaged} damaged, {} power cuts, {} torn writes",
            self.logged,
            self.lost,
            self.repeated,
            self.starts.len() - 1,
            self.torn,
        )
    }
}
