//! Answers of many parts, a page at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sds_proto::{ChannelId, LogEntry, RejectReason};

use super::Worker;
use crate::failure::{Failure, Reason};
use crate::json::{self, Object};

/// Most channels or log entries on a page.
const MAX_ITEMS: usize = 1_000;
/// Bytes of a page behind which nothing more is put on it.
const MAX_BYTES: usize = 1 << 20;

impl Worker {
    /// The channels whose ids come behind `after`.
    pub(super) fn channels(&self, after: &ChannelId, answer: &mut Vec<u8>) {
        let mut more = false;
        let behind = self.node.channels().skip_while(|channel| *channel <= after);
        let page = behind.enumerate().take_while(|(index, _)| {
            more = *index == MAX_ITEMS;
            !more
        });
        let page = Object::begin(answer)
            .list("channels", page, |out, (_, channel)| json::string(channel.as_bytes(), out));
        page.value("more", more).end();
    }

    /// At most `max` entries of a channel's log (0: as many as there may be on a page), none of
    /// them on the page that ended with `after`.
    pub(super) fn log(
        &self,
        channel: &ChannelId,
        after: Option<&[u8]>,
        max: usize,
        answer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let max = match max {
            0 => MAX_ITEMS,
            max => max.min(MAX_ITEMS),
        };
        let log = self.node.log(channel).ok_or(RejectReason::ChannelNotOpen)?;
        let (lamport, id) = match after {
            Some(after) => read_cursor(after).ok_or(Reason::NotACursor)?,
            None => (0, Vec::new()),
        };
        let read = |entry: &&LogEntry| {
            (entry.lamport(), entry.message_id().as_bytes()) <= (lamport, &id[..])
        };
        let mut entries = log.range(lamport..=u64::MAX).skip_while(read).peekable();
        let (mut items, mut bytes, mut last) = (0, 0, None);
        let page = core::iter::from_fn(|| {
            if items == max || bytes >= MAX_BYTES {
                last = last.filter(|_| entries.peek().is_some());
                return None;
            }
            let entry = entries.next();
            items += 1;
            bytes += entry.map_or(0, LogEntry::size);
            last = entry;
            entry
        });
        let page = Object::begin(answer).channel_id(channel).list("entries", page, |out, entry| {
            Object::begin(out)
                .message_id(entry.message_id())
                .text("senderId", entry.sender_id())
                .value("lamport", entry.lamport())
                .base64("message", entry.content())
                .end();
        });
        match last {
            Some(last) => page.text("next", cursor(last)).end(),
            None => page.end(),
        }
        Ok(())
    }
}

/// Returns the cursor behind `entry`.
fn cursor(entry: &LogEntry) -> String {
    format!("{}:{}", entry.lamport(), STANDARD.encode(entry.message_id()))
}

fn read_cursor(cursor: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (lamport, id) = core::str::from_utf8(cursor).ok()?.split_once(':')?;
    Some((lamport.parse().ok()?, STANDARD.decode(id).ok()?))
}
