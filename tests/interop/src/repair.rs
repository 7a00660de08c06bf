//! SDS-R between the two: who asks, when, and who answers, when. `from` asks, `to` answers. The
//! times are those that the other implementation foretells.

use bytes::Bytes;

use crate::peer::{Js, Peer, Settings, Side, Told, Turn, decoded, id_of};
use crate::timing::foretold;
use crate::{Failure, Outcome, ensure};

/// An asker that lacks the first of two messages, and an answerer that has both.
struct Gap {
    asker: Peer,
    answerer: Peer,
    lost: Bytes,
    id: String,
}

/// When the second message reaches the asker.
const NOTICED: u64 = 100;
const SENDER: &str = "sender";

impl Gap {
    fn open(
        js: &Js,
        from: Side,
        to: Side,
        settings: &Settings,
        lost: &str,
    ) -> Result<Self, Failure> {
        let mut sender = Peer::new(js, Side::RUST, SENDER, settings)?;
        let mut asker = Peer::new(js, from, "asker", settings)?;
        let mut answerer = Peer::new(js, to, "answerer", settings)?;
        let (first, second) = (sender.publish(0, lost)?, sender.publish(10, "what follows")?);
        for message in [&first, &second] {
            answerer.receive(20, message.one()?)?;
        }
        let heard = asker.receive(NOTICED, second.one()?)?;
        let id = id_of(lost);
        let missing = Told::Missing(vec![id.clone()]);
        ensure(heard.told.contains(&missing), || format!("{:?}", heard.told))?;
        Ok(Self { asker, answerer, lost: first.one()?.clone(), id })
    }

    /// The asker asks when T_req is over and not before. Gives the time and the message.
    fn request(&mut self, js: &Js, settings: &Settings) -> Result<(u64, Bytes), Failure> {
        let foretold = foretold(js, self.asker.side, settings, "asker", SENDER, &self.id)?;
        let due = NOTICED + foretold.t_req;
        let early = self.asker.pass(NOTICED, due - 1, true)?;
        for message in &early.sent {
            ensure(decoded(message)?.repair_request.is_empty(), || "asked too early")?;
        }
        // A node leaves at least `repair_sync_min`, one millisecond, for a message to take it
        // along.
        let turn = self.asker.pass(due, due + 1, true)?;
        for message in turn.sent {
            if let [request] = decoded(&message)?.repair_request.as_slice() {
                let (id, sender) = (request.message_id.as_str(), request.sender_id.as_str());
                let expected = (Some(self.id.as_str()), Some(SENDER));
                ensure((id, sender) == expected, || format!("asks for {id:?} of {sender:?}"))?;
                return Ok((due + 1, message));
            }
        }
        Err("did not ask when T_req was over".into())
    }

    /// When the answerer answers a request heard at `at`, if it does.
    fn answer_due(&self, js: &Js, settings: &Settings, at: u64) -> Result<Option<u64>, Failure> {
        let foretold = foretold(js, self.answerer.side, settings, "answerer", SENDER, &self.id)?;
        Ok(foretold.answers.then_some(at + foretold.t_resp))
    }

    fn answers(&self, turn: &Turn) -> Result<Option<Bytes>, Failure> {
        for message in &turn.sent {
            if decoded(message)?.message_id.as_str() == Some(&self.id) {
                return Ok(Some(message.clone()));
            }
        }
        Ok(None)
    }
}

impl Peer {
    /// Lets time pass. A library, which has no timers, is looked after at the end only.
    fn pass(&mut self, from: u64, until: u64, sync: bool) -> Result<Turn, Failure> {
        let mut all = Turn::default();
        let mut add = |turn: Turn| {
            all.sent.extend(turn.sent);
            all.told.extend(turn.told);
        };
        if self.side == Side::Js {
            add(self.wake(until)?);
            if sync {
                add(self.sync(until)?);
            }
            return Ok(all);
        }
        while let Some(at) = self.next_wake().filter(|at| *at <= until) {
            add(self.wake(at.max(from))?);
        }
        Ok(all)
    }
}

pub(crate) fn answered(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut gap = Gap::open(js, from, to, &settings, "lost on the way")?;
    let (asked, request) = gap.request(js, &settings)?;
    gap.answerer.receive(asked, &request)?;
    let due = gap.answer_due(js, &settings, asked)?.ok_or("all answer")?;
    ensure(due > asked + 1, || "the answer is due at once: nothing to see")?;
    let early = gap.answerer.pass(asked, due - 1, false)?;
    ensure(gap.answers(&early)?.is_none(), || "answered too early")?;
    let turn = gap.answerer.pass(due, due, false)?;
    let answer = gap.answers(&turn)?.ok_or("no answer when T_resp was over")?;
    let (told, original) = (decoded(&answer)?, decoded(&gap.lost)?);
    let same = told.sender_id == original.sender_id
        && told.lamport == original.lamport
        && told.causal_history == original.causal_history
        && told.content == original.content;
    ensure(same, || "the answer is not what was lost")?;
    gap.asker.receive(due + 1, &answer)?;
    gap.asker.wake(due + 1_000)?;
    ensure(gap.asker.log()? == gap.answerer.log()?, || "the logs differ after the answer")?;
    ensure(gap.asker.log()?.len() == 2, || "not both are logged")?;
    Ok(format!("asked after {} ms, answered after {} ms", asked - NOTICED - 1, due - asked))
}

/// Somebody else's answer, heard in time, is enough.
pub(crate) fn cancelled(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings::default();
    let mut gap = Gap::open(js, from, to, &settings, "answered by another")?;
    let (asked, request) = gap.request(js, &settings)?;
    gap.answerer.receive(asked, &request)?;
    let due = gap.answer_due(js, &settings, asked)?.ok_or("all answer")?;
    ensure(due > asked + 1, || "the answer is due at once: nothing to see")?;
    gap.answerer.receive(due - 1, &gap.lost.clone())?;
    let turn = gap.answerer.pass(due, due + 10_000, false)?;
    ensure(gap.answers(&turn)?.is_none(), || "answered all the same")?;
    Ok("silent when T_resp was over".into())
}

/// Of many messages each side answers those, and only those, that the other says it will.
pub(crate) fn divided(js: &Js, from: Side, to: Side) -> Outcome {
    let settings = Settings { groups: 3, ..Settings::default() };
    let (mut given, mut left) = (0, 0);
    for number in 0..12 {
        let mut gap = Gap::open(js, from, to, &settings, &format!("divided {number}"))?;
        let (asked, request) = gap.request(js, &settings)?;
        gap.answerer.receive(asked, &request)?;
        let due = gap.answer_due(js, &settings, asked)?;
        let turn = gap.answerer.pass(asked, asked + settings.t_max, false)?;
        let answered = gap.answers(&turn)?.is_some();
        ensure(answered == due.is_some(), || format!("{}: answered {answered}", gap.id))?;
        if answered { given += 1 } else { left += 1 }
    }
    ensure(given > 0 && left > 0, || format!("{given} answered, {left} not"))?;
    Ok(format!("{given} answered, {left} left to others"))
}
