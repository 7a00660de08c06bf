//! A participant on a bare Cortex-M4: everything that a firmware has to do for a node.
//!
//! It hears and says datagrams over a serial line, keeps its state in flash memory, and publishes a
//! message every two seconds until it has published its share.

#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod flash;
mod heap;
mod link;
mod measure;

use alloc::vec::Vec;

use bytes::Bytes;
use cortex_m_rt::entry;
use sds_firmware::frame::{Boot, FromBoard, Status, TURN_MS, ToBoard};
use sds_firmware::journal::Journal;
use sds_proto::{
    ChannelId, Config, Durability, Effect, Input, Instant, MessageId, Node, Now, PublishKind,
    UnixMillis,
};

use crate::board::Timer;
use crate::flash::Flash;
use crate::link::Link;

const NAME: &str = "board";
const GROUP: ChannelId = ChannelId::from_static("group");
const PUBLISH_EVERY: u32 = 2_000 / TURN_MS;

#[entry]
fn main() -> ! {
    let (timer, uart, banks) = board::init();
    let mut link = Link::new(uart);
    link.send(&FromBoard::Hello);
    let boot = link.boot();
    if let Some(cut) = boot.cut {
        flash::cut_power(cut);
    }

    let journal = Journal::open(banks).expect("this flash memory has no faults");
    link.send(&FromBoard::Journal { torn: journal.is_torn() });
    let mut status = Status::default();
    measure::idle_channels(&mut status);
    App::join(boot, timer, link, journal, status).run()
}

/// The application around a node.
struct App {
    boot: Boot,
    timer: Timer,
    link: Link,
    journal: Journal<Flash>,
    node: Node,
    /// Turns since the start.
    turns: u32,
    /// Own messages published, those of before a reset included.
    published: u32,
    status: Status,
}

impl App {
    /// Joins the group, where the journal says that we were.
    fn join(boot: Boot, timer: Timer, link: Link, journal: Journal<Flash>, status: Status) -> Self {
        let config = Config::firmware()
            .participant_id(NAME.into())
            .seed(boot.seed)
            .durability(Durability::Strict)
            .auto_consume(true);
        let node = Node::new(config.build().expect("the settings are constants"));
        let mut app = Self { boot, timer, link, journal, node, turns: 0, published: 0, status };
        app.handle(Input::Open { channel: GROUP, config: None });
        let log = app.node.log(&GROUP).expect("the journal gives back what it was given");
        let own = log.iter().filter(|entry| entry.sender_id().as_bytes() == NAME.as_bytes());
        app.published = own.count() as u32;
        app
    }

    fn run(mut self) -> ! {
        loop {
            self.turn();
            self.timer.wait();
        }
    }

    /// Runs at each tick of the timer.
    fn turn(&mut self) {
        let heard = self.exchange();
        self.timer.restart();
        self.turns += 1;
        for datagram in heard {
            let cycles = self.handle(Input::Datagram(datagram));
            self.status.datagrams.add(cycles);
        }
        if self.turns.is_multiple_of(PUBLISH_EVERY) && self.published < self.boot.messages {
            self.publish();
        }
        let now = self.now();
        if self.node.next_deadline().is_some_and(|deadline| deadline.at <= now.mono) {
            self.handle(Input::Tick);
        }
    }

    /// Ends the turn before this one, and takes in what came over the line.
    fn exchange(&mut self) -> Vec<Bytes> {
        let log = self.node.log(&GROUP).expect("the group is open");
        self.status.digest = log.digest().to_bytes();
        self.status.logged = log.len() as u32;
        self.status.damaged = self.link.damaged;
        (self.status.words, self.status.erased) = flash::wear();
        (self.status.heap_used, self.status.heap_peak) = heap::used_and_peak();
        self.link.send(&FromBoard::Turn(self.status));

        let (mut heard, mut dump) = (Vec::new(), false);
        self.link.receive(|message| match message {
            // An allocation of its own, of its own length: the log may keep it.
            ToBoard::Datagram(bytes) => heard.push(Bytes::copy_from_slice(bytes)),
            ToBoard::CutPower(cut) => flash::cut_power(cut),
            ToBoard::Dump => dump = true,
            ToBoard::Boot(_) | ToBoard::Turn => {}
        });
        if dump {
            self.dump();
        }
        heard
    }

    fn publish(&mut self) {
        // Beyond this it would be refused; it waits for acknowledgements instead.
        let outgoing = self.node.status(&GROUP).map_or(0, |status| status.outgoing);
        if outgoing >= self.node.config().max_outgoing() {
            return;
        }
        // Unique for ever: the seed is another one at each start.
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.boot.seed.to_le_bytes());
        id[8..].copy_from_slice(&self.published.to_le_bytes());
        let mut content = b"a reading of the board's, number ".to_vec();
        content.extend([100, 10, 1].map(|digit| b'0' + (self.published / digit % 10) as u8));
        let cycles = self.handle(Input::Publish {
            channel: GROUP,
            message_id: MessageId::from(&id[..]),
            content: content.into(),
            kind: PublishKind::Content,
        });
        self.status.published.add(cycles);
        self.published += 1;
    }

    /// Lets the node take in an input, and carries out what it wants done. Tells how many cycles
    /// the node took, what is done for it not counted.
    fn handle(&mut self, input: Input) -> u32 {
        let now = self.now();
        // A refusal has no effect: it is a fault of others, or an input that came too early.
        let (_refused, mut cycles) = self.timer.time(|| self.node.handle(now, input));
        loop {
            let (effect, polling) = self.timer.time(|| self.node.poll_effect());
            cycles += polling;
            let answer = match effect {
                None => return cycles,
                Some(Effect::Send { bytes, .. }) => {
                    self.link.send(&FromBoard::Datagram(&bytes));
                    continue;
                }
                Some(Effect::Persist { id, changes }) => {
                    let (result, writing) = self.timer.time(|| self.journal.write(&changes));
                    self.status.writes.add(writing);
                    Input::Persisted { id, result }
                }
                Some(Effect::Load { id, channel }) => {
                    let result = self.journal.load(&channel);
                    Input::Loaded { id, channel, result }
                }
                // Here an application would act on `Deliver`, and note the rest.
                Some(_) => continue,
            };
            let (taken, answering) = self.timer.time(|| self.node.handle(now, answer));
            taken.expect("the answer is to a question, and the journal gives what it was given");
            cycles += answering;
        }
    }

    /// The time at the beginning of this turn.
    ///
    /// Turns are counted, not ticks of the timer, for the sake of the host, which keeps step.
    fn now(&self) -> Now {
        let millis = u64::from(self.turns) * u64::from(TURN_MS);
        let wall = self.boot.wall.map(|at_start| UnixMillis(at_start + millis));
        Now { mono: Instant::from_millis(millis), wall }
    }

    fn dump(&mut self) {
        let log = self.node.log(&GROUP).expect("the group is open");
        for entry in log.iter() {
            self.link.send(&FromBoard::Entry {
                message_id: entry.message_id().as_bytes(),
                sender_id: entry.sender_id().as_bytes(),
                lamport: entry.lamport(),
                content: entry.content(),
            });
        }
    }
}
