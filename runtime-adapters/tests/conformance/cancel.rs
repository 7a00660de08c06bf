//! Futures that are dropped at every point at which they wait.

use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet};

use sds_proto::{DeliverySeq, Event, RetrievalId, RetrievalOutcome};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Events, Handle, HandleError, Options, Publication};

use crate::common::{CHANNEL, config, next_delivery, run};
use crate::drivers::{Driver, join};
use crate::gate::Gate;

/// Polls `future` whenever it asks for it, but no more than `polls` times, then drops it.
/// `waiting` is called each time it waits.
async fn poll_times<F: Future>(
    future: F,
    mut polls: usize,
    waiting: impl Fn(),
) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = match polls {
            0 => Poll::Ready(None),
            _ => future.as_mut().poll(cx).map(Some),
        };
        if polled.is_pending() {
            waiting();
            polls -= 1;
            if polls == 0 {
                return Poll::Ready(None);
            }
        }
        polled
    })
    .await
}

/// Whether a call that was cancelled after so many polls has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Happened {
    Yes,
    Perhaps,
    No,
}

/// A participant that can be kept from taking commands, and one that hears it.
struct Rig {
    alice: Handle,
    alice_events: Events,
    bob: Handle,
    bob_events: Events,
    gate: Gate,
    filled: RefCell<BTreeMap<String, Publication>>,
}

impl Rig {
    async fn new<D: Driver>() -> Self {
        let group = MemoryGroup::new(4_096);
        let gate = Gate::new(group.join());
        let options = Options::default().commands(1).events(usize::MAX).sends(1);
        let (alice, alice_events) =
            D::new().spawn_with(config("alice"), gate.transport(), options).unwrap();
        alice.open(CHANNEL).await.unwrap();
        let (bob, bob_events) = join::<D>(&group, "bob").await;
        Self { alice, alice_events, bob, bob_events, gate, filled: RefCell::default() }
    }

    /// Until the gate opens the driver takes no command, and there is no room for another.
    fn jam(&self) {
        self.gate.shut();
        loop {
            let waited_for = self.gate.is_waited_for();
            let mut filled = self.filled.borrow_mut();
            let id = format!("fill-{}", filled.len());
            match self.alice.try_publish(CHANNEL, id.as_str(), "content") {
                Ok(publication) => {
                    filled.insert(id, publication);
                }
                Err(full) => {
                    assert_eq!(full.reason, HandleError::Full);
                    if waited_for {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Cancels `call` at its first poll, its second, and so on, until it is ready before that;
    /// once with room for its command, and once without. It is given a number of its own each
    /// time, and `check` what is to be expected of that number.
    async fn at_every_poll<T>(
        &self,
        call: impl AsyncFn(usize) -> T,
        check: impl AsyncFn(usize, Happened),
    ) {
        self.at_every_poll_of(true, call, check).await;
    }

    /// The same for a call that is answered even if no command is.
    async fn at_every_poll_asked<T>(
        &self,
        call: impl AsyncFn(usize) -> T,
        check: impl AsyncFn(usize, Happened),
    ) {
        self.at_every_poll_of(false, call, check).await;
    }

    async fn at_every_poll_of<T>(
        &self,
        waits: bool,
        call: impl AsyncFn(usize) -> T,
        check: impl AsyncFn(usize, Happened),
    ) {
        let mut number = 0;
        for jammed in [false, true] {
            for polls in 0.. {
                if jammed {
                    self.jam();
                }
                let output = poll_times(call(number), polls, || {
                    if polls > 1 {
                        self.gate.open();
                    }
                })
                .await;
                self.gate.open();
                let ready = output.is_some();
                let happened = match polls {
                    _ if ready => Happened::Yes,
                    0 => Happened::No,
                    1 if jammed => Happened::No,
                    _ => Happened::Perhaps,
                };
                check(number, happened).await;
                number += 1;
                if ready {
                    assert!(polls > usize::from(jammed && waits), "it did not wait");
                    break;
                }
            }
        }
    }
}

/// A call that was cancelled while there was no room for it was never made; whatever was made has
/// happened once.
pub(crate) fn a_publish_cancelled_at_any_point_happens_once_or_not_at_all<D: Driver>() {
    run(async {
        let mut rig = Rig::new::<D>().await;
        let published = RefCell::new(BTreeMap::new());
        rig.at_every_poll(
            async |number| rig.alice.publish(CHANNEL, format!("p{number}"), "content").await,
            async |number, happened| {
                published.borrow_mut().insert(format!("p{number}"), happened);
            },
        )
        .await;
        for (id, publication) in rig.filled.take() {
            publication.await.unwrap();
            published.borrow_mut().insert(id, Happened::Yes);
        }
        let published = published.into_inner();
        assert!(published.len() > 5, "{published:?}");

        let log = rig.alice.log(CHANNEL).await.unwrap();
        let logged: Vec<_> =
            log.entries.iter().map(|entry| entry.message_id().to_string()).collect();
        let once: BTreeSet<_> = logged.iter().cloned().collect();
        assert_eq!(once.len(), logged.len());
        for (id, happened) in &published {
            let right = match happened {
                Happened::Yes => once.contains(id),
                Happened::Perhaps => true,
                Happened::No => !once.contains(id),
            };
            assert!(right, "{id}: {happened:?}");
        }
        // Told once to each, and everything that was logged.
        for events in [&mut rig.alice_events, &mut rig.bob_events] {
            let mut told = BTreeSet::new();
            for _ in 0..logged.len() {
                let id = next_delivery(events).await.entry.message_id().to_string();
                assert!(told.insert(id.clone()), "{id} twice");
            }
            assert_eq!(told, once);
        }
        assert_eq!(rig.bob.log(CHANNEL).await.unwrap(), log);
    });
}

pub(crate) fn an_ephemeral_message_cancelled_at_any_point_is_heard_once_or_never<D: Driver>() {
    run(async {
        let mut rig = Rig::new::<D>().await;
        let published = RefCell::new(BTreeMap::new());
        rig.at_every_poll(
            async |number| {
                rig.alice.publish_ephemeral(CHANNEL, format!("e{number}"), "content").await
            },
            async |number, happened| {
                published.borrow_mut().insert(format!("e{number}"), happened);
            },
        )
        .await;
        rig.alice.publish(CHANNEL, "last", "content").await.unwrap();
        let mut heard = BTreeSet::new();
        loop {
            match rig.bob_events.next().await.unwrap() {
                DriverEvent::Node(Event::DeliverEphemeral { message_id, .. }) => {
                    assert!(heard.insert(message_id.to_string()), "{message_id} twice");
                }
                DriverEvent::Node(Event::Deliver(last)) if last.entry.message_id() == *"last" => {
                    break;
                }
                _ => {}
            }
        }
        for (id, happened) in published.into_inner() {
            let right = match happened {
                Happened::Yes => heard.contains(&id),
                Happened::Perhaps => true,
                Happened::No => !heard.contains(&id),
            };
            assert!(right, "{id}: {happened:?}");
        }
    });
}

pub(crate) fn channels_opened_and_closed_by_cancelled_calls_are_open_or_closed<D: Driver>() {
    run(async {
        let rig = Rig::new::<D>().await;
        let is_open = async |number: usize| {
            let id = format!("c{number}").as_str().into();
            rig.alice.channels().await.unwrap().contains(&id)
        };
        rig.at_every_poll(
            async |number| rig.alice.open(format!("c{number}")).await.unwrap(),
            async |number, happened| {
                let open = is_open(number).await;
                assert!(happened == Happened::Perhaps || open == (happened == Happened::Yes));
            },
        )
        .await;
        for number in 0..20 {
            // Those that are open already say so.
            let _already = rig.alice.open(format!("c{number}")).await;
            assert!(is_open(number).await);
        }
        rig.at_every_poll(
            async |number| rig.alice.close(format!("c{number}")).await.unwrap(),
            async |number, happened| {
                let open = is_open(number).await;
                assert!(happened == Happened::Perhaps || open == (happened == Happened::No));
            },
        )
        .await;
        rig.at_every_poll(
            async |number| rig.alice.drop_channel(format!("c{}", 19 - number)).await.unwrap(),
            async |number, happened| {
                let open = is_open(19 - number).await;
                assert!(happened == Happened::Perhaps || open == (happened == Happened::No));
            },
        )
        .await;
    });
}

pub(crate) fn every_other_call_may_be_cancelled_at_any_point<D: Driver>() {
    run(async {
        let rig = Rig::new::<D>().await;
        let Rig { alice, .. } = &rig;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        let unharmed = async |_, _| {
            assert!(alice.log(CHANNEL).await.unwrap().entries.len() < 1_000);
        };
        rig.at_every_poll_asked(async |_| alice.log(CHANNEL).await.unwrap(), unharmed).await;
        rig.at_every_poll_asked(async |_| alice.status(CHANNEL).await.unwrap(), unharmed).await;
        rig.at_every_poll_asked(async |_| alice.channels().await.unwrap(), unharmed).await;
        rig.at_every_poll_asked(async |_| alice.outgoing(CHANNEL).await.unwrap(), unharmed).await;
        rig.at_every_poll_asked(async |_| alice.missing(CHANNEL).await.unwrap(), unharmed).await;
        rig.at_every_poll_asked(
            async |_| alice.missing_dependencies(CHANNEL, "m1").await.unwrap(),
            unharmed,
        )
        .await;
        rig.at_every_poll_asked(async |_| alice.stored_channels().await.unwrap(), unharmed).await;
        // Acknowledged perhaps.
        rig.at_every_poll(async |_| alice.resend(CHANNEL, "m1").await.is_ok(), unharmed).await;
        rig.at_every_poll_asked(async |_| alice.metrics().await.unwrap(), unharmed).await;
        rig.at_every_poll(async |_| alice.hint(CHANNEL, "m1", "where").await.unwrap(), unharmed)
            .await;
        let met = async |_| alice.dependencies_met(CHANNEL, vec!["m0".into()]).await.unwrap();
        rig.at_every_poll(met, unharmed).await;
        let consumed = async |_| alice.consumed(CHANNEL, DeliverySeq(1)).await.unwrap();
        rig.at_every_poll_asked(consumed, unharmed).await;
        let retrieved =
            async |_| alice.retrieved(RetrievalId(1), RetrievalOutcome::NotFound).await.unwrap();
        rig.at_every_poll(retrieved, unharmed).await;
        let open_with = async |number| {
            alice.open_with(format!("c{number}"), config("alice").into()).await.unwrap();
        };
        rig.at_every_poll(open_with, unharmed).await;
        for publication in rig.filled.take().into_values() {
            publication.await.unwrap();
        }
        rig.at_every_poll(async |_| alice.reset().await.unwrap(), async |_, _| {}).await;
        for publication in rig.filled.take().into_values() {
            publication.await.unwrap();
        }
        alice.reset().await.unwrap();
        assert!(alice.log(CHANNEL).await.unwrap().entries.is_empty());
    });
}

pub(crate) fn a_publication_dropped_at_any_point_is_published_once<D: Driver>() {
    run(async {
        let (alice, mut events) = join::<D>(&MemoryGroup::new(1), "alice").await;
        for polls in 0.. {
            let id = format!("m{polls}");
            let publication = alice.try_publish(CHANNEL, id.as_str(), "content").unwrap();
            let ready = poll_times(publication, polls, || {}).await.is_some();
            assert_eq!(next_delivery(&mut events).await.entry.message_id(), *id);
            if ready {
                break;
            }
        }
        let log = alice.log(CHANNEL).await.unwrap();
        assert!(log.entries.len() >= 2);
    });
}

pub(crate) fn waiting_for_an_event_may_be_cancelled_at_any_point<D: Driver>() {
    run(async {
        let (alice, mut events) = join::<D>(&MemoryGroup::new(1), "alice").await;
        let mut seq = 0;
        for polls in 0..20 {
            let id = format!("m{polls}");
            // Before it comes or when it is there, as it happens.
            let early = poll_times(events.next(), polls % 2, || {}).await;
            alice.publish(CHANNEL, id, "content").await.unwrap();
            let late = poll_times(events.next(), polls, || {}).await;
            for event in [early, late].into_iter().flatten().flatten() {
                if let DriverEvent::Node(Event::Deliver(delivery)) = event {
                    seq += 1;
                    assert_eq!(delivery.seq.0, seq);
                }
            }
        }
        while seq < 20 {
            seq += 1;
            assert_eq!(next_delivery(&mut events).await.seq.0, seq);
        }
    });
}

pub(crate) fn a_shutdown_cancelled_at_any_point_happens_unless_it_was_never_polled<D: Driver>() {
    run(async {
        for polls in 0.. {
            let (alice, mut events) = join::<D>(&MemoryGroup::new(1), "alice").await;
            let ready = poll_times(alice.shutdown(), polls, || {}).await.is_some();
            if polls == 0 {
                assert!(alice.channels().await.is_ok());
            } else {
                while events.next().await.is_some() {}
                assert_eq!(alice.channels().await, Err(HandleError::Stopped));
            }
            if ready {
                break;
            }
        }
    });
}
