//! When to ask and when to answer: the arithmetic of both sides, and what the one says of the
//! other.

use sds_proto::hash::HashKind;
use sds_proto::repair::RepairTiming;
use serde_json::json;

use crate::peer::{Js, Settings, Side, id_of};
use crate::{Failure, Outcome, ensure};

/// Delays in milliseconds, and whether one is to answer.
#[derive(PartialEq, Debug)]
pub(crate) struct Timing {
    pub(crate) t_req: u64,
    pub(crate) t_resp: u64,
    pub(crate) answers: bool,
}

/// Predicts the delays of `me` with the implementation that `me` does *not* run.
pub(crate) fn foretold(
    js: &Js,
    side: Side,
    settings: &Settings,
    me: &str,
    sender: &str,
    id: &str,
) -> Result<Timing, Failure> {
    match side {
        Side::Js => Ok(ours(settings, me, sender, id)),
        Side::Rust(_) => {
            let triple = [(me.to_owned(), sender.to_owned(), id.to_owned())];
            theirs(js, settings, &triple)?.pop().ok_or_else(|| "an empty table".into())
        }
    }
}

fn ours(settings: &Settings, me: &str, sender: &str, id: &str) -> Timing {
    let arithmetic = RepairTiming::new(HashKind::Lip109);
    let (me, sender, id) = (me.as_bytes(), sender.as_bytes(), id.as_bytes());
    let (t_min, t_max) = (settings.t_min.cast_signed(), settings.t_max.cast_signed());
    Timing {
        t_req: arithmetic.t_req(me, id, t_min, t_max),
        t_resp: arithmetic.t_resp(me, sender, id, t_max),
        answers: arithmetic.in_response_group(me, sender, id, settings.groups.into()),
    }
}

fn theirs(
    js: &Js,
    settings: &Settings,
    triples: &[(String, String, String)],
) -> Result<Vec<Timing>, Failure> {
    let request = json!({
        "op": "timing", "repairConfig": settings.repair_config(), "triples": triples,
    });
    let table = js.borrow_mut().ask(&request)?["table"].take();
    let table: Vec<(u64, u64, bool)> = serde_json::from_value(table)?;
    Ok(table
        .into_iter()
        .map(|(t_req, t_resp, answers)| Timing { t_req, t_resp, answers })
        .collect())
}

/// Every participant with every sender and id, in one, two and seven response groups.
pub(crate) fn table(js: &Js) -> Outcome {
    let participants = ["", "p", "alice", "bob", "naïve", "日本", "🙂", "0x04bfcb2f5f6a"];
    let ids = ["x", "id with spaces", "日本🙂"].map(String::from);
    let ids = ids.into_iter().chain((0..30).map(|number| id_of(&number.to_string())));
    let triples: Vec<_> = ids
        .flat_map(|id| participants.map(|me| (me, id.clone())))
        .flat_map(|(me, id)| participants.map(|sender| (me.into(), sender.into(), id.clone())))
        .collect();
    let (mut rows, mut outsiders) = (0, 0);
    for (groups, t_min, t_max) in [(1, 30_000, 120_000), (2, 1, 2), (7, 100, 3_600_000)] {
        let settings = Settings { groups, t_min, t_max, ..Settings::default() };
        for (triple, expected) in triples.iter().zip(theirs(js, &settings, &triples)?) {
            let (me, sender, id) = triple;
            let ours = ours(&settings, me, sender, id);
            ensure(ours == expected, || format!("{triple:?}: {ours:?}, JS {expected:?}"))?;
            rows += 1;
            outsiders += u32::from(!ours.answers);
        }
    }
    ensure(outsiders > rows / 10 && outsiders < rows, || "all are in one group")?;
    Ok(format!("{rows} rows equal, {outsiders} of them outside the group"))
}
