//! A group on a link that loses, repeats, delays and so reorders, by seed; time jumps to whatever
//! comes next.

use std::collections::BTreeMap;

use bytes::Bytes;
use sds_proto::wire::{Kind, WireDialect, detect};

use crate::peer::{Js, Peer, Settings, Side, Told, Turn, decoded};
use crate::{Failure, ensure};

/// Interval of the calls of a JavaScript participant's application, in milliseconds.
const JS_TURN: u64 = 1_000;
/// Turns between which it sends again what nobody acknowledged.
const JS_RESEND: u64 = 4;
/// The library asks for a message once. What it lacks for longer its application gets from a store.
const JS_STORE_AFTER: u64 = 20_000;

/// Faults of the link for each datagram and receiver, in percent and milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) loss: u8,
    pub(crate) repeat: u8,
    pub(crate) delay: u64,
}

enum Event {
    Arrival {
        to: usize,
        bytes: Bytes,
    },
    /// The turn of a JavaScript participant's application.
    JsTurn {
        who: usize,
        count: u64,
    },
}

pub(crate) struct World {
    pub(crate) peers: Vec<Peer>,
    pub(crate) now: u64,
    /// Messages that JavaScript applications got from the store.
    pub(crate) fetched: usize,
    pub(crate) datagrams: usize,
    link: Link,
    rng: fastrand::Rng,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Each content message as it was first sent in JavaScript's dialect.
    store: BTreeMap<String, Bytes>,
    /// The messages reported as missing at each participant, with the time.
    missing: Vec<BTreeMap<String, u64>>,
}

impl World {
    pub(crate) fn new(js: &Js, sides: &[Side], seed: u64, link: Link) -> Result<Self, Failure> {
        let settings = Settings::default();
        let peers = sides.iter().enumerate().map(|(index, side)| {
            Peer::new(js, *side, &format!("{}-{index}-{seed}", side.name()), &settings)
        });
        let mut world = Self {
            peers: peers.collect::<Result<_, _>>()?,
            now: 0,
            fetched: 0,
            datagrams: 0,
            link,
            rng: fastrand::Rng::with_seed(seed),
            events: BTreeMap::new(),
            sequence: 0,
            store: BTreeMap::new(),
            missing: vec![BTreeMap::new(); sides.len()],
        };
        for who in (0..sides.len()).filter(|who| sides[*who] == Side::Js) {
            world.schedule(JS_TURN, Event::JsTurn { who, count: 1 });
        }
        Ok(world)
    }

    pub(crate) fn publish(&mut self, who: usize, content: &str) -> Result<(), Failure> {
        let turn = self.peers[who].publish(self.now, content)?;
        self.carry_out(who, turn)
    }

    /// Runs until `done`, which is asked once a virtual second, or fails at `end`.
    pub(crate) fn run_until(
        &mut self,
        end: u64,
        mut done: impl FnMut(&Self) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        loop {
            if done(self)? {
                return Ok(true);
            }
            if self.now >= end {
                return Ok(false);
            }
            self.run(self.now + 1_000)?;
        }
    }

    /// Runs until `end`.
    pub(crate) fn run(&mut self, end: u64) -> Result<(), Failure> {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.peers.iter().enumerate();
            let wake = wakes.filter_map(|(who, peer)| Some((peer.next_wake()?, who))).min();
            let next = [event, wake.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().ok_or("just seen")?;
                self.take(event)?;
            } else if let Some((_, who)) = wake {
                let turn = self.peers[who].wake(self.now)?;
                self.carry_out(who, turn)?;
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Arrival { to, bytes } => {
                let turn = self.peers[to].receive(self.now, &bytes)?;
                self.carry_out(to, turn)
            }
            Event::JsTurn { who, count } => {
                let swept = self.peers[who].wake(self.now)?;
                self.carry_out(who, swept)?;
                if count.is_multiple_of(JS_RESEND) {
                    let resent = self.peers[who].resend(self.now)?;
                    self.carry_out(who, resent)?;
                }
                if self.rng.u8(..3) == 0 {
                    let synced = self.peers[who].sync(self.now)?;
                    self.carry_out(who, synced)?;
                }
                self.fetch(who)?;
                self.schedule(self.now + JS_TURN, Event::JsTurn { who, count: count + 1 });
                Ok(())
            }
        }
    }

    /// Sends what is to be sent, notes what is missing.
    fn carry_out(&mut self, from: usize, turn: Turn) -> Result<(), Failure> {
        for told in turn.told {
            match told {
                Told::Missing(ids) => {
                    for id in ids {
                        self.missing[from].entry(id).or_insert(self.now);
                    }
                }
                Told::Delivered(id) => {
                    self.missing[from].remove(&id);
                }
                _ => {}
            }
        }
        for bytes in turn.sent {
            let message = decoded(&bytes)?;
            if message.kind() == Kind::Content && detect(&bytes)? == WireDialect::Lip109 {
                let first = self.store.entry(message.message_id.to_string());
                let first = first.or_insert_with(|| bytes.clone());
                let content = decoded(first)?.content;
                ensure(content == message.content, || "one id, two contents")?;
            }
            self.broadcast(from, &bytes);
        }
        Ok(())
    }

    fn broadcast(&mut self, from: usize, bytes: &Bytes) {
        for to in (0..self.peers.len()).filter(|to| *to != from) {
            self.datagrams += 1;
            let copies = 1 + u8::from(self.rng.u8(..100) < self.link.repeat);
            for _ in 0..copies {
                if self.rng.u8(..100) >= self.link.loss {
                    let at = self.now + 1 + self.rng.u64(..=self.link.delay);
                    self.schedule(at, Event::Arrival { to, bytes: bytes.clone() });
                }
            }
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn fetch(&mut self, who: usize) -> Result<(), Failure> {
        let logged = self.peers[who].log()?;
        self.missing[who].retain(|id, _| !logged.iter().any(|(_, known)| known == id));
        let due =
            self.missing[who].iter().filter(|(_, since)| **since + JS_STORE_AFTER <= self.now);
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            // A message of the other dialect may not have been bridged yet.
            let Some(bytes) = self.store.get(&id).cloned() else { continue };
            self.fetched += 1;
            self.missing[who].remove(&id);
            let turn = self.peers[who].receive(self.now, &bytes)?;
            self.carry_out(who, turn)?;
        }
        Ok(())
    }
}
