//! Groups of both, on a bad link: in the end all have the same log, and all know it.

use sds_proto::Dialect;

use crate::peer::{Js, Side, id_of};
use crate::world::{Link, World};
use crate::{Failure, Outcome, ensure};

const LOSSY: Link = Link { loss: 25, repeat: 10, delay: 400 };
const GOOD: Link = Link { loss: 0, repeat: 0, delay: 20 };
const NIM: Side = Side::Rust(Dialect::NimSds);
const BRIDGE: Side = Side::Rust(Dialect::Bridge);
/// Messages that each participant publishes.
const MESSAGES: usize = 15;
const END: u64 = 600_000;

pub(crate) fn even(js: &Js) -> Outcome {
    seeds(js, &[Side::RUST, Side::Js, Side::RUST, Side::Js], LOSSY)
}

pub(crate) fn mostly_rust(js: &Js) -> Outcome {
    seeds(js, &[Side::RUST, Side::RUST, Side::Js, Side::RUST], LOSSY)
}

pub(crate) fn mostly_js(js: &Js) -> Outcome {
    seeds(js, &[Side::Js, Side::RUST, Side::Js, Side::Js], LOSSY)
}

/// The nim participant and the JavaScript one cannot read each other; the node between them can.
pub(crate) fn bridged(js: &Js) -> Outcome {
    let mut apart = World::new(js, &[Side::Js, NIM], 1, GOOD)?;
    for who in 0..2 {
        apart.publish(who, &format!("nobody reads {who}"))?;
    }
    apart.run(60_000)?;
    for peer in &apart.peers {
        ensure(peer.log()?.len() == 1, || "they understood each other")?;
    }
    seeds(js, &[Side::Js, BRIDGE, NIM], GOOD)
}

pub(crate) fn bridged_lossy(js: &Js) -> Outcome {
    seeds(js, &[Side::Js, NIM, BRIDGE, NIM, Side::Js], Link { loss: 15, ..LOSSY })
}

fn seeds(js: &Js, sides: &[Side], link: Link) -> Outcome {
    let (mut datagrams, mut fetched, mut seconds) = (0, 0, 0);
    for seed in 1..=2 {
        let world =
            converge(js, sides, seed, link).map_err(|error| format!("seed {seed}: {error}"))?;
        datagrams += world.datagrams;
        fetched += world.fetched;
        seconds = seconds.max(world.now / 1_000);
    }
    let all = sides.len() * MESSAGES;
    Ok(format!(
        "{all} messages twice, at most {seconds} virtual s, {datagrams} datagrams, \
         {fetched} fetched for JS"
    ))
}

fn converge(js: &Js, sides: &[Side], seed: u64, link: Link) -> Result<World, Failure> {
    let mut world = World::new(js, sides, seed, link)?;
    let mut expected = Vec::new();
    for round in 0..MESSAGES {
        for who in 0..sides.len() {
            let content = format!("{round} of {who} by seed {seed}");
            world.publish(who, &content)?;
            expected.push(id_of(&content));
            world.run(world.now + 1 + (seed * 37 + round as u64 * 13) % 150)?;
        }
    }
    expected.sort();
    let complete = |world: &World| -> Result<bool, Failure> {
        for peer in &world.peers {
            if peer.log()?.len() < expected.len() || peer.unacked()? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if !world.run_until(END, complete)? {
        let counts: Result<Vec<_>, Failure> = world
            .peers
            .iter()
            .map(|peer| Ok((peer.name.clone(), peer.log()?.len(), peer.unacked()?)))
            .collect();
        let of = expected.len();
        return Err(format!("of {of}, (name, logged, unacknowledged): {:?}", counts?).into());
    }
    let log = world.peers[0].log()?;
    ensure(log.is_sorted(), || "the log is not in (Lamport, id) order")?;
    let mut ids: Vec<_> = log.iter().map(|(_, id)| id.clone()).collect();
    ids.sort();
    ensure(ids == expected, || "the log is not what was published")?;
    for peer in &world.peers {
        ensure(peer.log()? == log, || format!("{}'s log differs", peer.name))?;
    }
    Ok(world)
}
