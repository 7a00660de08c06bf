//! The three kinds of message, and the filters they carry.

use bytes::Bytes;
use sds_proto::wire::Kind;

use crate::peer::{Js, Peer, Settings, Side, Told, decoded, id_of};
use crate::{Outcome, ensure};

pub(crate) fn content(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut sender = Peer::new(js, from, "sender", &settings)?;
    let mut receiver = Peer::new(js, to, "receiver", &settings)?;
    for number in 0..20 {
        let content = format!("message {number} — naïve 日本 🙂");
        let turn = sender.publish(number * 10, &content)?;
        let heard = receiver.receive(number * 10 + 5, turn.one()?)?;
        let expected = Told::Delivered(id_of(&content));
        ensure(heard.told == [expected], || format!("{:?}", heard.told))?;
    }
    ensure(sender.log()? == receiver.log()?, || "the logs differ")?;
    Ok("20 messages".into())
}

/// A member that hears only the sync learns its missing messages from the causal history.
pub(crate) fn sync_tells(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut sender = Peer::new(js, from, "sender", &settings)?;
    let mut receiver = Peer::new(js, to, "receiver", &settings)?;
    sender.publish(0, "never heard")?;
    let syncs = sender.sync(100)?;
    let sync = syncs.sent.last().ok_or("no sync")?;
    ensure(decoded(sync)?.kind() == Kind::Sync, || "not a sync")?;
    let heard = receiver.receive(20_000, sync)?;
    let expected = Told::Missing(vec![id_of("never heard")]);
    ensure(heard.told.contains(&expected), || format!("{:?}", heard.told))?;
    ensure(receiver.log()?.is_empty(), || "the sync was logged")?;
    Ok("names what is missing, is not logged".into())
}

pub(crate) fn sync_acknowledges(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut reader = Peer::new(js, from, "reader", &settings)?;
    let mut author = Peer::new(js, to, "author", &settings)?;
    let message = author.publish(0, "read and synced")?;
    reader.receive(10, message.one()?)?;
    let syncs = reader.sync(100)?;
    let sync = syncs.sent.last().ok_or("no sync")?;
    let heard = author.receive(20_000, sync)?;
    let expected = Told::Acked(id_of("read and synced"));
    ensure(heard.told.contains(&expected), || format!("{:?}", heard.told))?;
    ensure(author.log()?.len() == 1, || "the sync was logged")?;
    Ok("its history acknowledges".into())
}

pub(crate) fn ephemeral(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut sender = Peer::new(js, from, "sender", &settings)?;
    let mut receiver = Peer::new(js, to, "receiver", &settings)?;
    let turn = sender.ephemeral(0, "typing…")?;
    let bytes = turn.one()?;
    ensure(decoded(bytes)?.kind() == Kind::Ephemeral, || "not ephemeral")?;
    let heard = receiver.receive(10, bytes)?;
    let expected = Told::Ephemeral(Bytes::from("typing…"));
    ensure(heard.told == [expected], || format!("{:?}", heard.told))?;
    ensure(sender.log()?.is_empty() && receiver.log()?.is_empty(), || "it was logged")?;
    Ok("told at once, not logged".into())
}

/// After the same messages both send the same filter.
pub(crate) fn filters(js: &Js) -> Outcome {
    let settings = Settings::default();
    let mut ours = Peer::new(js, Side::RUST, "ours", &settings)?;
    let mut theirs = Peer::new(js, Side::Js, "theirs", &settings)?;
    for number in 0..100 {
        let (sender, receiver) =
            if number % 2 == 0 { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
        let turn = sender.publish(number, &format!("filtered {number}"))?;
        receiver.receive(number, turn.one()?)?;
    }
    let mut filters = Vec::new();
    for peer in [&mut ours, &mut theirs] {
        let message = decoded(peer.publish(200, &format!("last of {}", peer.name))?.one()?)?;
        filters.push(message.bloom_filter.ok_or("no filter")?);
    }
    let bits: u32 = filters[0].iter().map(|byte| byte.count_ones()).sum();
    ensure(bits > 900, || format!("{bits} bits after 100 messages"))?;
    ensure(filters[0] == filters[1], || "the filters differ")?;
    Ok(format!("{} bytes, {bits} bits set", filters[0].len()))
}
