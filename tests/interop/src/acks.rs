//! Acknowledgement of one side's messages by what the other sends.

use crate::peer::{Js, Peer, Settings, Side, Told, decoded, id_of};
use crate::{Failure, Outcome, ensure};

/// Nothing but a causal history can acknowledge here.
const FILTERS_NEVER: Settings =
    Settings { named: None, ack_threshold: 1_000, ack_confidence: 1e-300, ..TIMES };

/// Two filters acknowledge, one does not: of 143,776 bits, each counts for one in 143,776² at most.
/// Histories name one message only.
const FILTERS_TWO: Settings =
    Settings { named: Some(1), ack_threshold: 2, ack_confidence: 1e-20, ..TIMES };

const TIMES: Settings = Settings {
    named: None,
    ack_threshold: 2,
    ack_confidence: 1e-6,
    t_min: 1_000,
    t_max: 6_000,
    groups: 1,
};

/// `from` reads and answers; `to`, the author, hears that it was read.
pub(crate) fn by_history(js: &Js, from: Side, to: Side) -> Outcome {
    let mut author = Peer::new(js, to, "author", &FILTERS_NEVER)?;
    let mut reader = Peer::new(js, from, "reader", &FILTERS_NEVER)?;
    let message = author.publish(0, "to be named")?;
    reader.receive(10, message.one()?)?;
    let answer = reader.publish(20, "I name it")?;
    ensure(names(answer.one()?, "to be named")?, || "the answer does not name it")?;
    let heard = author.receive(30, answer.one()?)?;
    let acked = Told::Acked(id_of("to be named"));
    ensure(heard.told.contains(&acked), || format!("{:?}", heard.told))?;
    ensure(author.unacked()? == 0, || "it is still to be resent")?;
    Ok("by one message that names it".into())
}

/// The author's first message is not named in what the readers send, but is in their filters.
pub(crate) fn by_filters(js: &Js, from: Side, to: Side) -> Outcome {
    let mut author = Peer::new(js, to, "author", &FILTERS_TWO)?;
    let mut told = Vec::new();
    let (first, second) = (author.publish(0, "in filters")?, author.publish(10, "named")?);
    for name in ["reader one", "reader two"] {
        let mut reader = Peer::new(js, from, name, &FILTERS_TWO)?;
        reader.receive(20, first.one()?)?;
        reader.receive(30, second.one()?)?;
        let answer = reader.publish(40, name)?;
        ensure(!names(answer.one()?, "in filters")?, || "the answer names it")?;
        told.push(author.receive(50, answer.one()?)?.told);
    }
    let id = id_of("in filters");
    let (possibly, acked) = (Told::PossiblyAcked(id.clone()), Told::Acked(id));
    ensure(told[0].contains(&possibly) && !told[0].contains(&acked), || format!("{:?}", told[0]))?;
    ensure(told[1].contains(&acked), || format!("{:?}", told[1]))?;
    Ok("possibly by one, surely by two".into())
}

/// A member that has read nothing acknowledges nothing.
pub(crate) fn by_nothing(js: &Js, from: Side, to: Side) -> Outcome {
    let mut author = Peer::new(js, to, "author", &TIMES)?;
    author.publish(0, "unread")?;
    for name in ["stranger one", "stranger two", "stranger three"] {
        let mut stranger = Peer::new(js, from, name, &TIMES)?;
        let word = stranger.publish(10, name)?;
        let heard = author.receive(20, word.one()?)?;
        let claimed = |told: &Told| matches!(told, Told::Acked(_) | Told::PossiblyAcked(_));
        ensure(!heard.told.iter().any(claimed), || format!("{:?}", heard.told))?;
    }
    ensure(author.unacked()? == 1, || "it is no longer to be resent")?;
    Ok("by three who have not read it".into())
}

/// Whether a message's causal history names the message with this content.
fn names(bytes: &bytes::Bytes, content: &str) -> Result<bool, Failure> {
    let id = id_of(content);
    let message = decoded(bytes)?;
    Ok(message.causal_history.iter().any(|entry| entry.message_id.as_str() == Some(&id)))
}
