//! Options of a driver beside its node and its transport.

use core::fmt;
use core::time::Duration;

use crate::clock::Clock;
use crate::store::Store;

/// Bounds of a driver and what it works with; the default suits most. See the [crate] for what
/// happens at each bound.
#[must_use]
pub struct Options {
    pub(crate) commands: usize,
    pub(crate) events: usize,
    pub(crate) sends: usize,
    pub(crate) flush: Duration,
    pub(crate) max_stall: Duration,
    pub(crate) clock: Option<Clock>,
    pub(crate) store: Option<Box<dyn Store>>,
}

impl Options {
    /// Commands that may wait to be carried out: of all handles together, or on an event loop of
    /// each; and as many questions of all handles together. Default 64; 0 counts as 1. Memory: some
    /// 200 bytes and the content each; a handle of an event loop takes the former at once.
    pub const fn commands(mut self, commands: usize) -> Self {
        self.commands = commands;
        self
    }

    /// Events that may wait to be read before the driver receives nothing more; from twice as many
    /// on it publishes nothing either. Default 1,024; 0 counts as 1. Memory: some 200 bytes each,
    /// and content that the log holds as well.
    pub const fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Datagrams that may wait for the transport. Default 256; 0 counts as 1. Memory: a datagram
    /// each, some 19 KB in the LIP-109 dialect.
    pub const fn sends(mut self, sends: usize) -> Self {
        self.sends = sends;
        self
    }

    /// Longest time that a shutdown waits for the store to write what there is to write, and for
    /// the transport to take what there is to send. Default 1 s.
    pub const fn flush(mut self, flush: Duration) -> Self {
        self.flush = flush;
        self
    }

    /// Longest time that a message to publish waits for room while so many events are unread that
    /// nothing is received, acknowledgements included, and none of them is read. After that it is
    /// refused, or who reads the events and publishes in one task would wait for itself. Default
    /// 5 s.
    pub const fn max_stall(mut self, max_stall: Duration) -> Self {
        self.max_stall = max_stall;
        self
    }

    /// The clock that the node is told the time of. Default: one that starts with the driver.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the store of the node's state. Default: none. The
    /// [durability](sds_proto::Config::durability) must be `None` without a store, and another one
    /// with a store. Memory: unpersisted changes, which
    /// [`max_held_effects`](sds_proto::Config::max_held_effects) bounds.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Box::new(store));
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commands: 64,
            events: 1_024,
            sends: 256,
            flush: Duration::from_secs(1),
            max_stall: Duration::from_secs(5),
            clock: None,
            store: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, events, sends, flush, max_stall, clock, store } = self;
        f.debug_struct("Options")
            .field("commands", commands)
            .field("events", events)
            .field("sends", sends)
            .field("flush", flush)
            .field("max_stall", max_stall)
            .field("clock", clock)
            .field("has_store", &store.is_some())
            .finish()
    }
}
