//! An allocator that counts, and a node whose allocations it counts.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use bytes::Bytes;
use sds_proto::{Config, Effect, Input, Node, Now, PersistId, RejectReason, StoreError};

std::thread_local! {
    /// Bytes that this thread holds, and the most that it held. Tests run on threads of their own.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(bytes: isize) {
    let (held, most) = HELD.get();
    HELD.set((held + bytes, most.max(held + bytes)));
}

// SAFETY: it counts what it hands through to the system's allocator. What grows is copied by the
// trait's own `realloc`, so that the old and the new count at once.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Current and maximum bytes of a part of the program.
#[derive(Clone, Copy, Default, Debug)]
pub struct Gauge {
    held: isize,
    most: isize,
}

impl Gauge {
    /// Does some work and counts what it allocates and frees.
    pub fn watch<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let outside = HELD.replace((self.held, self.most));
        let result = work();
        (self.held, self.most) = HELD.replace(outside);
        result
    }

    pub fn held(&self) -> usize {
        usize::try_from(self.held).expect("nobody frees what others allocated")
    }

    pub fn most(&self) -> usize {
        usize::try_from(self.most).expect("at least nothing")
    }

    /// Begins anew to look for the most.
    pub fn forget(&mut self) {
        self.most = self.held;
    }
}

/// The behaviour of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreIs {
    Prompt,
    Silent,
    Failing,
}

/// A node that is watched. Its effects are polled after each input, and dropped.
pub struct Watched {
    pub node: Node,
    pub gauge: Gauge,
    pub store: StoreIs,
    /// The newest write that the store said nothing of.
    unanswered: Option<PersistId>,
    pub refused: u64,
}

impl Watched {
    pub fn new(config: &Config) -> Self {
        let mut gauge = Gauge::default();
        let node = gauge.watch(|| Node::new(config.clone()));
        Self { node, gauge, store: StoreIs::Prompt, unanswered: None, refused: 0 }
    }

    /// Hands in what `input` makes, if the node takes it.
    pub fn handle(&mut self, now: Now, input: impl FnOnce() -> Input) -> Result<(), RejectReason> {
        let Self { node, gauge, store, unanswered, refused } = self;
        gauge.watch(|| {
            let result = node.handle(now, input()).map_err(|rejected| rejected.reason);
            *refused += u64::from(result.is_err());
            *unanswered = drain(node, now, *store).or(*unanswered);
            result
        })
    }

    pub fn hear(&mut self, now: Now, datagram: &[u8]) -> Result<(), RejectReason> {
        self.handle(now, || Input::Datagram(Bytes::copy_from_slice(datagram)))
    }

    /// The store answers again, all that it was silent about.
    pub fn recover(&mut self, now: Now) {
        self.store = StoreIs::Prompt;
        if let Some(id) = self.unanswered.take() {
            // If it was handed out again since, this answer is void.
            self.handle(now, || Input::Persisted { id, result: Ok(()) }).expect("it was asked for");
        }
    }

    /// Ticks if that is due, as often as it is until the store has to say something.
    pub fn tick(&mut self, now: Now) {
        for _ in 0..10_000 {
            if self.node.next_deadline().is_none_or(|due| due.at > now.mono) {
                return;
            }
            self.handle(now, || Input::Tick).expect("a tick is always taken");
        }
        panic!("no end of ticks");
    }
}

/// Polls a node dry, and returns the newest write that was not answered.
fn drain(node: &mut Node, now: Now, store: StoreIs) -> Option<PersistId> {
    let mut unanswered = None;
    while let Some(effect) = node.poll_effect() {
        let answer = match effect {
            Effect::Load { id, channel } => Input::Loaded { id, channel, result: Ok(None) },
            Effect::Persist { id, .. } if store == StoreIs::Prompt => {
                Input::Persisted { id, result: Ok(()) }
            }
            Effect::Persist { id, .. } if store == StoreIs::Failing => {
                Input::Persisted { id, result: Err(StoreError::Full) }
            }
            Effect::Persist { id, .. } => {
                unanswered = Some(id);
                continue;
            }
            _ => continue,
        };
        node.handle(now, answer).expect("an answer that was asked for");
    }
    unanswered
}
