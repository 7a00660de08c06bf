//! Reads a participant's events and writes down what was delivered, in this life and in those
//! before.

use core::cell::Cell;
use core::future::Future;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use futures_lite::future;
use sds_proto::{DeliverySeq, Event};
use sds_runtime::{DriverEvent, Events};

use crate::pipe::Progress;
use crate::record::{DELIVERED, Delivered};
use crate::seal::SealedWriter;

/// Reads events whenever one of its futures is polled, and not otherwise.
pub(crate) struct Recorder<'a> {
    events: Events,
    file: SealedWriter,
    progress: &'a Cell<Progress>,
}

impl<'a> Recorder<'a> {
    /// Goes on where the last life ended.
    pub(crate) fn resume(
        dir: &Path,
        events: Events,
        progress: &'a Cell<Progress>,
    ) -> io::Result<Self> {
        let (file, lines) = SealedWriter::resume(&dir.join(DELIVERED))?;
        let earlier: Result<BTreeSet<_>, _> = lines
            .lines()
            .map(|line| line.parse().map(|delivered: Delivered| delivered.logged.message_id))
            .collect();
        let earlier = earlier.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        progress.update(|p| Progress { delivered: earlier.len() as u64, ..p });
        Ok(Self { events, file, progress })
    }

    /// Returns the progress of the participant.
    pub(crate) const fn progress(&self) -> &'a Cell<Progress> {
        self.progress
    }

    /// Records until `work` is done.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let work = async { Ok(work.await) };
        let record = async {
            while let Some(event) = self.events.next().await {
                self.record(&event)?;
            }
            future::pending().await
        };
        future::or(work, record).await
    }

    /// Records until this many deliveries have been; `false` if there are more already.
    pub(crate) async fn until(&mut self, delivered: u64) -> io::Result<bool> {
        while self.progress.get().delivered < delivered {
            let Some(event) = self.events.next().await else {
                break;
            };
            self.record(&event)?;
        }
        Ok(self.progress.get().delivered == delivered)
    }

    pub(crate) fn seal(self) -> io::Result<()> {
        self.file.seal()
    }

    fn record(&mut self, event: &DriverEvent) -> io::Result<()> {
        if let DriverEvent::Node(Event::Deliver(delivery)) = event {
            self.file.line(Delivered::new(delivery))?;
            // Deliveries are numbered without a gap; those that come again have smaller numbers.
            let DeliverySeq(seq) = delivery.seq;
            self.progress.update(|p| Progress { delivered: p.delivered.max(seq), ..p });
        }
        Ok(())
    }
}
