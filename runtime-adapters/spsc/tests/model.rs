//! Any sequence of operations does what it does to a bounded queue. Not under Miri, where generating
//! the sequences takes minutes; the other tests go through the same code.
#![cfg(not(miri))]

use std::collections::VecDeque;

use proptest::prelude::*;
use sds_spsc::{TryRecvError, TrySendError, polled_channel, polled_stream};

#[derive(Clone, Debug)]
enum Step {
    Send,
    SendSlice(usize),
    Fill(usize),
    Receive,
    Drain(usize),
    Commit(usize),
    Peek,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Send),
        8 => Just(Step::Receive),
        3 => (0..12usize).prop_map(Step::SendSlice),
        3 => (0..12usize).prop_map(Step::Fill),
        3 => (0..12usize).prop_map(Step::Drain),
        3 => (0..12usize).prop_map(Step::Commit),
        1 => Just(Step::Peek),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..200)
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn index(capacity in 1..20usize, steps in steps()) {
        let (mut sender, mut receiver) = polled_channel::<u32>(capacity);
        let (mut model, mut closed, mut next) = (VecDeque::new(), false, 0u32);
        for step in steps {
            let room = if closed { 0 } else { capacity - model.len() };
            match step {
                Step::Send => {
                    let result = sender.try_send(next);
                    if closed {
                        prop_assert_eq!(result, Err(TrySendError::Closed(next)));
                    } else if room == 0 {
                        prop_assert_eq!(result, Err(TrySendError::Full(next)));
                    } else {
                        prop_assert_eq!(result, Ok(()));
                        model.push_back(next);
                    }
                    next += 1;
                }
                Step::SendSlice(count) => {
                    let values: Vec<_> = (next..).take(count).collect();
                    let sent = sender.send_slice(&values);
                    prop_assert_eq!(sent, count.min(room));
                    model.extend(&values[..sent]);
                    next += sent as u32;
                }
                Step::Fill(count) => {
                    let sent = sender.write_chunk(count).map_or(0, |chunk| chunk.fill(next..));
                    prop_assert_eq!(sent, count.min(room));
                    model.extend((next..).take(sent));
                    next += sent as u32;
                }
                Step::Receive => {
                    let nothing = if closed { TryRecvError::Closed } else { TryRecvError::Empty };
                    prop_assert_eq!(receiver.try_recv(), model.pop_front().ok_or(nothing));
                }
                Step::Drain(count) => {
                    let count = count.min(model.len());
                    let drained: Vec<_> = receiver.drain(count).collect();
                    prop_assert_eq!(drained, model.drain(..count).collect::<Vec<_>>());
                }
                Step::Commit(count) => {
                    let Ok(chunk) = receiver.read_chunk(count) else {
                        prop_assert!(model.is_empty());
                        continue;
                    };
                    let (first, second) = chunk.as_slices();
                    let present = first.iter().chain(second).copied();
                    prop_assert!(present.eq(model.iter().copied().take(count)));
                    let half = chunk.len() / 2;
                    chunk.commit(half);
                    model.drain(..half);
                }
                Step::Peek => prop_assert_eq!(receiver.peek(), model.front()),
                Step::Close => {
                    sender.close();
                    closed = true;
                }
            }
            prop_assert_eq!((sender.len(), receiver.len()), (model.len(), model.len()));
            prop_assert_eq!(sender.is_full(), model.len() == capacity);
        }
    }

    /// The sender of core B may see it fuller than it is, by less than a batch.
    #[test]
    fn in_slot(capacity in 1..40usize, steps in steps()) {
        let (mut sender, mut receiver) = polled_stream::<u32>(capacity);
        let (mut model, mut closed, mut next) = (VecDeque::new(), false, 0u32);
        let batch = (capacity / 4).clamp(1, 32);
        for step in steps {
            match step {
                Step::Send | Step::SendSlice(_) | Step::Fill(_) => match sender.try_send(next) {
                    Ok(()) => {
                        model.push_back(next);
                        next += 1;
                    }
                    Err(TrySendError::Closed(_)) => prop_assert!(closed),
                    Err(TrySendError::Full(_)) => prop_assert!(model.len() + batch > capacity),
                },
                Step::Receive => {
                    let nothing = if closed { TryRecvError::Closed } else { TryRecvError::Empty };
                    prop_assert_eq!(receiver.try_recv(), model.pop_front().ok_or(nothing));
                }
                Step::Drain(count) | Step::Commit(count) => {
                    let count = count.min(model.len());
                    let drained: Vec<_> = receiver.drain(count).collect();
                    prop_assert_eq!(drained, model.drain(..count).collect::<Vec<_>>());
                }
                Step::Peek => prop_assert_eq!(receiver.peek(), model.front()),
                Step::Close => {
                    sender.close();
                    closed = true;
                }
            }
            prop_assert!(model.len() <= capacity && receiver.len() == model.len());
            prop_assert!((model.len()..model.len() + batch).contains(&sender.len()));
        }
    }
}
