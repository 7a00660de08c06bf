//! Lanes that come and go.
#![cfg(sds_loom)]

use loom::{future::block_on, sync::Arc, thread};
use loom_tests::check;
use sds_spsc::{Fault, RecvError, lanes};

#[test]
fn lanes_come_and_go() {
    let faults =
        [Fault::SilentLane, Fault::NoWaiterFence, Fault::SilentClose, Fault::UnorderedPublish];
    check("lanes_come_and_go", &faults, || {
        let (connector, mut receiver) = lanes::<u32>(1);
        let sending = thread::spawn(move || {
            let mut lane = connector.connect().expect("the receiver is alive");
            drop(connector);
            lane.try_send(1).expect("room");
        });
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Err(RecvError));
        sending.join().expect("no panic");
    });
}

/// So that whoever asks for something through a lane knows whether to count on an answer.
#[test]
fn what_was_sent_and_not_found_closed_is_received() {
    let faults = [Fault::NoCloseFence, Fault::NoPublisherFence];
    check("what_was_sent_and_not_found_closed_is_received", &faults, || {
        let (connector, mut receiver) = lanes::<u32>(1);
        let mut known = connector.connect().expect("the receiver is alive");
        assert!(receiver.try_recv().is_err());
        let sending = thread::spawn(move || {
            let sent = known.try_send(1).is_ok();
            (sent && !known.is_closed(), known)
        });
        receiver.close();
        let received = receiver.try_recv().is_ok();
        let (is_certain, _lane) = sending.join().expect("no panic");
        assert!(received || !is_certain, "nobody answers");
    });
}

#[test]
fn a_lane_made_at_the_close_is_closed_or_refused() {
    let faults = [Fault::NoCloseFence, Fault::NoPublisherFence];
    check("a_lane_made_at_the_close_is_closed_or_refused", &faults, || {
        let (connector, mut receiver) = lanes::<u32>(1);
        let sending = thread::spawn(move || {
            let mut lane = connector.connect().ok()?;
            let sent = lane.try_send(1).is_ok();
            Some((sent && !lane.is_closed(), lane))
        });
        receiver.close();
        let received = receiver.try_recv().is_ok();
        let lane = sending.join().expect("no panic");
        assert!(received || lane.is_none_or(|(is_certain, _)| !is_certain), "nobody answers");
    });
}

#[test]
fn two_lanes_share_a_waiting_receiver() {
    let faults = [Fault::NoPublisherFence, Fault::NoWaiterFence];
    check("two_lanes_share_a_waiting_receiver", &faults, || {
        let (connector, mut receiver) = lanes::<u32>(1);
        let mut lanes = [1, 2].map(|i| (i, connector.connect().expect("the receiver is alive")));
        let (_, second) = &mut lanes[1];
        second.try_send(2).expect("room");
        assert_eq!(receiver.try_recv(), Ok(2));
        let sending = lanes.map(|(i, mut lane)| {
            thread::spawn(move || {
                lane.try_send(i).expect("room");
                lane
            })
        });
        let seen = block_on(receiver.recv()).and_then(|one| Ok(one + block_on(receiver.recv())?));
        assert_eq!(seen, Ok(3));
        for lane in sending {
            drop(lane.join());
        }
    });
}

#[test]
fn a_lane_is_not_made_for_a_receiver_that_goes() {
    check("a_lane_is_not_made_for_a_receiver_that_goes", &[Fault::UnorderedFree], || {
        let (connector, receiver) = lanes::<Arc<u32>>(1);
        let value = Arc::new(7);
        let sent = Arc::clone(&value);
        let sending = thread::spawn(move || {
            if let Ok(mut lane) = connector.connect() {
                drop(lane.try_send(sent));
            }
        });
        drop(receiver);
        sending.join().expect("no panic");
        assert_eq!(Arc::strong_count(&value), 1);
    });
}
