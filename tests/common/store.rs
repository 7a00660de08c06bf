//! A store in memory that can be told to be slow, to fail, and to forget.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sds_proto::snapshot::{Change, ChangeKind, Snapshot};
use sds_proto::{ChannelId, Effect, Input, Node, Now, PersistId, StoreError};

#[derive(Default)]
pub struct Store {
    /// What is on "disk".
    pub channels: BTreeMap<ChannelId, Snapshot>,
    /// Writes handed in and not yet carried out.
    pub queue: VecDeque<(PersistId, Arc<[Change]>)>,
    /// Writes that fail from now on.
    pub failing: Option<StoreError>,
}

impl Store {
    pub fn write(&mut self, id: PersistId, changes: Arc<[Change]>) {
        self.queue.push_back((id, changes));
    }

    pub fn load(&self, channel: &ChannelId) -> Input {
        let snapshot = self.channels.get(channel).cloned().map(Box::new);
        Input::Loaded { channel: channel.clone(), result: Ok(snapshot) }
    }

    /// Carries out the oldest write and gives the answer for the node.
    pub fn answer(&mut self) -> Option<Input> {
        let (id, changes) = self.queue.pop_front()?;
        if let Some(error) = self.failing {
            return Some(Input::Persisted { id, result: Err(error) });
        }
        for change in changes.iter() {
            apply(&mut self.channels, change);
        }
        Some(Input::Persisted { id, result: Ok(()) })
    }

    /// Polls `node` dry, answering every write and load at once, and returns the other effects.
    pub fn serve(&mut self, node: &mut Node, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Persist { id, changes } => {
                    self.write(id, changes);
                    while let Some(answer) = self.answer() {
                        node.handle(now, answer).expect("an answer that was asked for");
                    }
                }
                Effect::Load { channel } => {
                    node.handle(now, self.load(&channel)).expect("an answer that was asked for");
                }
                other => effects.push(other),
            }
        }
        effects
    }
}

pub fn apply(channels: &mut BTreeMap<ChannelId, Snapshot>, change: &Change) {
    if change.kind == ChangeKind::Erased {
        channels.remove(&change.channel);
    } else {
        channels.entry(change.channel.clone()).or_default().apply(&change.kind);
    }
}
