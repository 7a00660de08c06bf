//! Stores that a driver starts with, and channels that are loaded from them.

use futures_lite::future::zip;
use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, RejectReason, StoreError};
use sds_runtime::store::{Faults, Faulty, Memory, Record, Store, StoreFuture};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, HandleError, Options, StartError};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join_with};
use crate::store::{durable, logged, strict, switched};

pub(crate) fn store_and_durability_must_go_together<D: Driver>() {
    let spawn = |config, options| {
        D::new().spawn_with(config, MemoryGroup::new(1).join(), options).unwrap_err()
    };
    let error = spawn(strict("alice"), Options::default());
    assert_eq!(error, StartError::NeedsStore { durability: Durability::Strict });
    assert!(error.to_string().contains("Options::store"), "{error}");
    let error = spawn(config("alice"), Options::default().store(Memory::default()));
    assert_eq!(error, StartError::UnusedStore);
    assert!(error.to_string().contains("Durability::Relaxed or Strict"), "{error}");
}

pub(crate) fn a_store_that_cannot_be_used_keeps_the_driver_from_starting<D: Driver>() {
    struct Unusable;

    impl Store for Unusable {
        fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
            assert_eq!(durability, Durability::Strict);
            Err(StoreError::Version)
        }

        fn write(&mut self, _: Vec<Write>) -> StoreFuture<()> {
            unreachable!("it did not start")
        }

        fn load(&mut self, _: &ChannelId) -> StoreFuture<Vec<Record>> {
            unreachable!("it did not start")
        }

        fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
            unreachable!("it did not start")
        }
    }

    let options = Options::default().store(Unusable);
    let started = D::new().spawn_with(strict("alice"), MemoryGroup::new(1).join(), options);
    assert_eq!(started.unwrap_err(), StartError::Store(StoreError::Version));
}

pub(crate) fn records_longer_than_a_store_takes_are_refused_at_the_start<D: Driver>() {
    struct Short(u64);

    impl Store for Short {
        fn max_record_len(&self) -> u64 {
            self.0
        }

        fn write(&mut self, _: Vec<Write>) -> StoreFuture<()> {
            unreachable!("nothing is written")
        }

        fn load(&mut self, _: &ChannelId) -> StoreFuture<Vec<Record>> {
            unreachable!("nothing is loaded")
        }

        fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
            unreachable!("nobody asks")
        }
    }

    let len = strict("alice").max_record_len();
    let start = |limit| {
        let store = Faulty::new(Short(limit), Faults::seeded(0));
        let options = Options::default().store(store);
        D::new().spawn_with(strict("alice"), MemoryGroup::new(1).join(), options)
    };
    let error = start(len - 1).unwrap_err();
    assert_eq!(error, StartError::RecordTooLong { len, limit: len - 1 });
    assert!(error.to_string().contains("max_content_len"), "{error}");
    assert!(start(len).is_ok());
}

pub(crate) fn a_channel_is_open_when_it_has_been_loaded<D: Driver>() {
    run(async {
        let (options, switch) = switched(&Memory::default());
        let (alice, mut events) =
            D::new().spawn_with(strict("alice"), MemoryGroup::new(1).join(), options).unwrap();
        let rejected = |reason| Err(HandleError::Rejected(reason));
        switch.hold();
        let open = async { alice.open(CHANNEL).await };
        let meanwhile = async {
            while !switch.is_waited_for() {
                alice.channels().await.unwrap();
            }
            let early = alice.publish(CHANNEL, "m1", "content").await.unwrap_err().reason;
            assert_eq!(early, HandleError::Rejected(RejectReason::ChannelLoading));
            let again = alice.open(CHANNEL).await;
            assert_eq!(again, rejected(RejectReason::ChannelAlreadyOpen));
            assert!(alice.log(CHANNEL).await.is_err());
            switch.release();
        };
        assert_eq!(zip(open, meanwhile).await.0, Ok(()));
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        next_delivery(&mut events).await;

        alice.close(CHANNEL).await.unwrap();
        switch.fail(Some(StoreError::Unavailable));
        let failed = RejectReason::LoadFailed(StoreError::Unavailable);
        assert_eq!(alice.open(CHANNEL).await, rejected(failed));
        let told = |event| match event {
            DriverEvent::LoadFailed { channel, error } => Some((channel, error)),
            _ => None,
        };
        assert_eq!(next(&mut events, told).await, (CHANNEL.into(), StoreError::Unavailable));
        assert!(alice.channels().await.unwrap().is_empty());
        switch.fail(None);
        alice.open(CHANNEL).await.unwrap();
        assert_eq!(logged(&alice).await, ["m1".into()]);
    });
}

pub(crate) fn a_channel_closed_or_emptied_while_it_is_loaded_is_not_given_the_old_state<
    D: Driver,
>() {
    run(async {
        let records = Memory::default();
        let (options, switch) = switched(&records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        alice.close(CHANNEL).await.unwrap();

        for drops in [false, true] {
            switch.hold();
            let first = async { alice.open(CHANNEL).await };
            let second = async {
                while !switch.is_waited_for() {
                    alice.channels().await.unwrap();
                }
                if drops {
                    alice.drop_channel(CHANNEL).await.unwrap();
                } else {
                    alice.close(CHANNEL).await.unwrap();
                }
                let open = async { alice.open(CHANNEL).await };
                let release = async { switch.release() };
                zip(open, release).await.0
            };
            let (first, second) = zip(first, second).await;
            assert_eq!(first, Err(HandleError::Rejected(RejectReason::ChannelNotOpen)));
            assert_eq!(second, Ok(()));
            assert_eq!(logged(&alice).await.len(), usize::from(!drops));
            alice.close(CHANNEL).await.unwrap();
        }

        alice.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        alice.close(CHANNEL).await.unwrap();
        switch.hold();
        let open = async { alice.open(CHANNEL).await };
        let reset = async {
            while !switch.is_waited_for() {
                alice.channels().await.unwrap();
            }
            alice.reset().await.unwrap();
        };
        let (opened, ()) = zip(open, reset).await;
        assert_eq!(opened, Ok(()));
        assert_eq!(logged(&alice).await, []);
        switch.release();
        alice.publish(CHANNEL, "m3", "content").await.unwrap();
        alice.shutdown().await;

        let options = Options::default().store(records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        assert_eq!(logged(&alice).await, ["m3".into()]);
    });
}

pub(crate) fn a_dropped_channel_leaves_no_records_and_a_closed_one_all<D: Driver>() {
    run(async {
        let records = Memory::default();
        let options = Options::default().store(records.clone());
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        alice.open("other").await.unwrap();
        alice.close(CHANNEL).await.unwrap();
        alice.open(CHANNEL).await.unwrap();
        assert_eq!(logged(&alice).await, ["m1".into()]);
        alice.drop_channel(CHANNEL).await.unwrap();
        // The changes before a channel is loaded have been written.
        alice.open("third").await.unwrap();
        assert!(records.records(&CHANNEL.into()).is_empty());
        assert!(records.channels().contains(&"other".into()));
        alice.open(CHANNEL).await.unwrap();
        assert_eq!(logged(&alice).await, []);
    });
}

pub(crate) fn records_that_make_no_sense_are_refused<D: Driver>() {
    /// Gives back records with one byte changed.
    struct Rotten(Memory);

    impl Store for Rotten {
        fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
            self.0.write(batch)
        }

        fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
            let mut records = self.0.records(channel);
            if let Some(first) = records.first_mut() {
                first.key = vec![0xff].into();
            }
            Box::pin(async { Ok(records) })
        }

        fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
            Store::channels(&mut self.0)
        }
    }

    run(async {
        let options = Options::default().store(Rotten(Memory::default()));
        let (alice, mut events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        next_delivery(&mut events).await;
        alice.close(CHANNEL).await.unwrap();
        let failed = RejectReason::LoadFailed(StoreError::Corrupt);
        assert_eq!(alice.open(CHANNEL).await, Err(HandleError::Rejected(failed)));
    });
}

pub(crate) fn a_store_of_another_participant_is_refused<D: Driver>() {
    run(async {
        let records = Memory::default();
        let join = |config| {
            let options = Options::default().store(records.clone());
            join_with::<D>(config, MemoryGroup::new(1).join(), options)
        };
        let (alice, mut events) = join(strict("alice")).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        next_delivery(&mut events).await;
        drop(alice);

        let options = Options::default().store(records.clone());
        let transport = MemoryGroup::new(1).join();
        let (bob, mut events) = D::new().spawn_with(strict("bob"), transport, options).unwrap();
        let refused = bob.open(CHANNEL).await;
        let other = RejectReason::LoadFailed(StoreError::OtherParticipant);
        assert_eq!(refused, Err(HandleError::Rejected(other)));
        assert!(refused.unwrap_err().to_string().contains("adopt_store"));
        let told = |event| match event {
            DriverEvent::LoadFailed { error, .. } => Some(error),
            _ => None,
        };
        assert_eq!(next(&mut events, told).await, StoreError::OtherParticipant);
        drop(bob);

        let adopts = durable("bob", Durability::Strict).adopt_store(true).build().unwrap();
        let (bob, _events) = join(adopts).await;
        assert_eq!(logged(&bob).await, ["m1".into()]);
    });
}

pub(crate) fn the_stored_channels_are_listed_whether_open_or_not<D: Driver>() {
    run(async {
        let records = Memory::default();
        let start = || {
            let (options, switch) = switched(&records);
            let transport = MemoryGroup::new(1).join();
            let (handle, events) =
                D::new().spawn_with(strict("alice"), transport, options).unwrap();
            (handle, events, switch)
        };
        let ids = |ids: &[&str]| Ok(ids.iter().map(|id| ChannelId::from(*id)).collect::<Vec<_>>());
        let (alice, _events, _) = start();
        assert_eq!(alice.stored_channels().await, ids(&[]));
        for channel in ["b", "a", "ab"] {
            alice.open(channel).await.unwrap();
        }
        alice.close("ab").await.unwrap();
        alice.shutdown().await;

        let (alice, _events, switch) = start();
        assert_eq!(alice.stored_channels().await, ids(&["a", "ab", "b"]));
        assert_eq!(alice.channels().await, ids(&[]));
        alice.open("a").await.unwrap();
        alice.drop_channel("a").await.unwrap();
        // Writes come before what is asked later.
        alice.open("b").await.unwrap();
        assert_eq!(alice.stored_channels().await, ids(&["ab", "b"]));
        switch.fail(Some(StoreError::Corrupt));
        let error = alice.stored_channels().await.unwrap_err();
        assert_eq!(error, HandleError::Store(StoreError::Corrupt));
        assert!(error.to_string().contains("damaged"), "{error}");

        let transport = MemoryGroup::new(1).join();
        let (alice, _events) =
            D::new().spawn_with(config("alice"), transport, Options::default()).unwrap();
        alice.open("a").await.unwrap();
        assert_eq!(alice.stored_channels().await, ids(&[]));
    });
}

pub(crate) fn a_thousand_channels_come_back<D: Driver>() {
    const CHANNELS: usize = 1_000;
    run(async {
        let records = Memory::default();
        let quiet = || durable("alice", Durability::Strict).bloom_capacity(100).sync(false);
        for restarted in [false, true] {
            let options = Options::default().store(records.clone());
            let transport = MemoryGroup::new(1).join();
            let config = quiet().build().unwrap();
            let (alice, mut events) = D::new().spawn_with(config, transport, options).unwrap();
            for number in 0..CHANNELS {
                let channel = format!("c{number}");
                alice.open(channel.as_str()).await.unwrap();
                if !restarted {
                    alice.publish(channel.as_str(), "m1", "content").await.unwrap();
                }
                assert_eq!(alice.status(channel.as_str()).await.unwrap().logged, 1);
                assert_eq!(next_delivery(&mut events).await.redelivery, restarted);
            }
            alice.shutdown().await;
        }
    });
}
