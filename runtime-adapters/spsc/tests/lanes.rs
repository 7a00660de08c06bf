//! Behaviour of lanes visible to one thread.
#![cfg(feature = "std")]

use core::task::{Context, Poll, Waker};

use sds_spsc::{SendError, TryRecvError, lanes};

#[test]
fn each_lane_has_its_turn() {
    let (connector, mut receiver) = lanes(8);
    receiver.set_budget(2);
    let mut senders = [0, 1, 2].map(|_| connector.connect().expect("the receiver is alive"));
    for (id, sender) in senders.iter_mut().enumerate() {
        assert_eq!(sender.send_slice(&[id; 5]), 5);
    }
    let order: Vec<_> = core::iter::from_fn(|| receiver.try_recv().ok()).collect();
    assert_eq!(order, [1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 0, 0, 1, 2, 0]);
}

#[test]
fn lanes_go_and_the_others_stay() {
    let (connector, mut receiver) = lanes(2);
    let mut senders: Vec<_> = (0..4).map(|_| connector.connect().expect("alive")).collect();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.lanes(), 4);
    senders[1].try_send("last words").expect("room");
    senders.truncate(1);
    assert_eq!(receiver.try_recv(), Ok("last words"));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.lanes(), 1);
    drop(senders);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(connector.clone());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(connector);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn closing_keeps_what_was_sent() {
    let (connector, mut receiver) = lanes(2);
    let mut known = connector.connect().expect("alive");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    let mut unknown = connector.connect().expect("alive");
    known.try_send(1).expect("room");
    unknown.try_send(2).expect("room");
    receiver.close();
    assert!(known.try_send(3).is_err() && unknown.try_send(3).is_err());
    assert_eq!(connector.connect().map(drop), Err(SendError(())));
    let mut rest: Vec<_> = core::iter::from_fn(|| receiver.try_recv().ok()).collect();
    rest.sort_unstable();
    assert_eq!((rest, receiver.try_recv()), (vec![1, 2], Err(TryRecvError::Closed)));
}

#[test]
fn a_receiver_that_goes_closes_all_lanes() {
    let (connector, receiver) = lanes::<u8>(2);
    let lane = connector.connect().expect("alive");
    drop(receiver);
    assert!(lane.is_closed() && connector.is_closed() && connector.connect().is_err());
}

#[test]
fn a_new_lane_does_not_end_the_wait_for_messages() {
    let (connector, mut receiver) = lanes::<u8>(2);
    let mut context = Context::from_waker(Waker::noop());
    assert!(receiver.poll_recv(&mut context).is_pending());
    let mut lane = connector.connect().expect("alive");
    assert!(receiver.poll_recv(&mut context).is_pending());
    lane.try_send(1).expect("room");
    assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(Ok(1)));
}
