//! The thread that works on the file.

use sds_proto::stored::Write;
use sds_proto::{ChannelId, StoreError};
use sds_spsc::Receiver;

use super::Synchronous;
use super::backup::{BackupError, Target};
use super::database::Database;
use crate::reply::Reply;
use crate::store::Record;

/// A call of the store, and where its answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Synchronous { level: Synchronous, reply: Reply<Result<(), StoreError>> },
    Write(WriteRequest),
    Load { channel: ChannelId, reply: Reply<Result<Vec<Record>, StoreError>> },
    Channels { reply: Reply<Result<Vec<ChannelId>, StoreError>> },
    BackUp { target: Target, reply: Reply<Result<(), BackupError>> },
}

#[derive(Debug)]
pub(super) struct WriteRequest {
    pub(super) batch: Vec<Write>,
    pub(super) reply: Reply<Result<(), StoreError>>,
}

/// Carries out requests in order until the store is dropped, and then closes the file.
pub(super) fn serve(mut database: Database, mut requests: Receiver<Request>) {
    while let Ok(request) = requests.recv_blocking() {
        match request {
            Request::Synchronous { level, reply } => reply.send(database.set_synchronous(level)),
            Request::Load { channel, reply } => reply.send(database.load(&channel)),
            Request::Channels { reply } => reply.send(database.channels()),
            Request::BackUp { target, reply } => reply.send(database.back_up(&target)),
            Request::Write(first) => {
                let mut group = vec![first];
                group.extend(core::iter::from_fn(|| next_write(&mut requests)));
                let result = database.write(group.iter().flat_map(|write| &write.batch));
                group.into_iter().for_each(|write| write.reply.send(result));
            }
        }
    }
}

/// The next request, if it is there already and a write.
fn next_write(requests: &mut Receiver<Request>) -> Option<WriteRequest> {
    requests.peek().filter(|request| matches!(request, Request::Write(_)))?;
    match requests.try_recv() {
        Ok(Request::Write(write)) => Some(write),
        Ok(
            Request::Synchronous { .. }
            | Request::Load { .. }
            | Request::Channels { .. }
            | Request::BackUp { .. },
        )
        | Err(_) => None,
    }
}
