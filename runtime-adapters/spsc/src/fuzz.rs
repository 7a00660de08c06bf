//! The body of the fuzz target and the property tests: any sequence of operations has the same
//! results as on a bounded queue.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    Core, Mode, Receiver, Sender, TryRecvError, TrySendError, Wakes, channel, polled_channel,
    polled_stream, stream,
};

/// `data`: capacity, core and mode, then two bytes for each operation: which, and how many.
///
/// # Panics
/// If the channel does not do what a queue does.
pub fn spsc_ops(data: &[u8]) {
    let Some((&[capacity, kind], operations)) = data.split_first_chunk() else { return };
    let capacity = usize::from(capacity % 40) + 1;
    let wakes = Wakes::new();
    match kind % 6 {
        0 => run(capacity, polled_channel(capacity), operations, chunk_operation, || ()),
        1 => run(capacity, channel(capacity), operations, chunk_operation, || ()),
        2 => {
            let (sender, receiver) = channel(capacity);
            let ends = (sender.deferred(&wakes), receiver.deferred(&wakes));
            run(capacity, ends, operations, chunk_operation, || wakes.flush());
        }
        3 => run(capacity, polled_stream(capacity), operations, nothing, || ()),
        4 => run(capacity, stream(capacity), operations, nothing, || ()),
        _ => {
            let (sender, receiver) = stream(capacity);
            let ends = (sender.deferred(&wakes), receiver.deferred(&wakes));
            run(capacity, ends, operations, nothing, || wakes.flush());
        }
    }
}

/// The queue that the channel is to be like.
#[derive(Default)]
struct Model {
    messages: VecDeque<u32>,
    closed: bool,
    /// The next message.
    next: u32,
}

impl Model {
    fn sent(&mut self, count: usize) {
        self.messages.extend((self.next..).take(count));
        self.next += count as u32;
    }
}

type ChunkOperation<M, C> =
    fn(&mut Sender<u32, M, C>, &mut Receiver<u32, M, C>, &mut Model, u8, usize);

fn run<M: Mode, C: Core>(
    capacity: usize,
    (mut sender, mut receiver): (Sender<u32, M, C>, Receiver<u32, M, C>),
    operations: &[u8],
    chunk_operation: ChunkOperation<M, C>,
    flush: impl Fn(),
) {
    // By how much the sender may see it fuller than it is: the receiver tells once in a batch.
    let batch = (capacity / 4).clamp(1, 32);
    let mut model = Model::default();
    for operation in operations.chunks_exact(2) {
        let count = usize::from(operation[1] % 48);
        match operation[0] % 12 {
            0..=2 => match sender.try_send(model.next) {
                Ok(()) => {
                    assert!(!model.closed);
                    model.sent(1);
                }
                Err(TrySendError::Closed(value)) => assert!(model.closed && value == model.next),
                Err(TrySendError::Full(value)) => {
                    assert!(model.messages.len() + batch > capacity && value == model.next);
                }
            },
            3..=5 => {
                let nothing = if model.closed { TryRecvError::Closed } else { TryRecvError::Empty };
                assert_eq!(receiver.try_recv(), model.messages.pop_front().ok_or(nothing));
            }
            6 => {
                let values: Vec<_> = (model.next..).take(count).collect();
                let sent = sender.send_slice(&values);
                let room = capacity - model.messages.len();
                assert!(sent <= count.min(room) && (sent == 0 || !model.closed));
                assert!(model.closed || sent + batch > count.min(room));
                model.sent(sent);
            }
            7 => {
                let count = count.min(model.messages.len());
                let drained = receiver.drain(count);
                assert!(drained.eq(model.messages.drain(..count)));
            }
            8 => assert_eq!(receiver.peek(), model.messages.front()),
            9 if count == 0 => {
                sender.close();
                model.closed = true;
            }
            9 => flush(),
            more => chunk_operation(&mut sender, &mut receiver, &mut model, more, count),
        }
        let len = model.messages.len();
        assert!(len <= capacity && receiver.len() == len);
        assert!((len..len + batch).contains(&sender.len()));
    }
}

/// Core B has no chunks.
fn nothing<M: Mode, C: Core>(
    _: &mut Sender<u32, M, C>,
    _: &mut Receiver<u32, M, C>,
    _: &mut Model,
    _: u8,
    _: usize,
) {
}

fn chunk_operation<M: Mode>(
    sender: &mut Sender<u32, M>,
    receiver: &mut Receiver<u32, M>,
    model: &mut Model,
    operation: u8,
    count: usize,
) {
    if operation == 10 {
        let sent = sender.write_chunk(count).map_or(0, |chunk| chunk.fill(model.next..));
        assert!(sent == 0 || !model.closed);
        return model.sent(sent);
    }
    let Ok(chunk) = receiver.read_chunk(count) else {
        return assert!(model.messages.is_empty());
    };
    let (first, second) = chunk.as_slices();
    let present = first.iter().chain(second);
    assert!(present.eq(model.messages.iter().take(count)));
    let half = chunk.len() / 2;
    chunk.commit(half);
    model.messages.drain(..half);
}
