//! Outsiders who talk to a simulated group of honest members and mean it ill. The group converges
//! nevertheless, bounds hold (I7) and no other invariant breaks; what is dropped is told, and whose
//! it was. One more member, whose memory is watched, hears all that anybody sends. `cargo test
//! --features sim --test adversaries -- --nocapture` prints what each attack did.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;
mod heap;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::at;
use common::peer::{Said, entry, lip109};
use heap::Watched;
use sds_proto::bloom::Geometry;
use sds_proto::sim::{Plan, Report, Simulation};
use sds_proto::wire::HistoryEntry;
use sds_proto::{ConfigBuilder, Effect, Event, Input, Instant, Limit, MessageId, Now, SendReason};

const GROUP: &str = "nodes 5\nmessages 40\ngap_ms 2000\nloss 20\nlost_after_min 60\n";

/// A run with an outsider, and what the members told of it.
struct Attack {
    group: Simulation,
    told: Vec<Effect>,
    /// The member whose memory is watched, and whether it has a wall clock.
    witness: Watched,
    wall: bool,
}

impl Attack {
    fn new(text: &str, adjust: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let plan: Plan = text.parse().expect("a plan");
        let mut witness = None;
        let group = Simulation::with_settings(1, &plan, |_, settings| {
            let settings = adjust(settings);
            witness.get_or_insert_with(|| settings.clone().participant_id("witness".into()));
            settings
        });
        let mut group = group.expect("a plan that can be carried out");
        group.keep_effects();
        let config = witness.expect("there are members").build().expect("settings of a member");
        let mut witness = Watched::new(&config);
        let open = || Input::Open { channel: group.channel().clone(), config: None };
        witness.handle(at(0), open).expect("opens");
        Self { group, told: Vec::new(), witness, wall: !text.contains("without_wall") }
    }

    /// The time of the witness.
    fn now(&self) -> Now {
        let now = at(self.group.now().as_micros() / 1_000);
        if self.wall { now } else { Now::without_wall(now.mono) }
    }

    fn look(&mut self) {
        let now = self.now();
        while let Some((_, effect)) = self.group.poll_effect() {
            if let Effect::Send { bytes, .. } = &effect {
                let _refused = self.witness.hear(now, bytes);
            }
            self.told.push(effect);
        }
        self.witness.tick(now);
    }

    /// Describes the memory of the witness under attack, and its bound.
    fn memory(&self) -> String {
        let most = self.witness.gauge.most();
        let bound = self.witness.node.config().max_memory().total(1);
        assert!(most < bound, "{most} bytes, above {bound}");
        format!("; {} KB of memory at most, the bound is {} KB", most / 1_000, bound / 1_000)
    }

    /// Has the outsider send something `count` times, every `every_ms`.
    fn send(
        &mut self,
        count: u64,
        every_ms: u64,
        mut say: impl FnMut(u64, &[Effect]) -> Vec<Bytes>,
    ) {
        for n in 1..=count {
            self.group.run_until(Instant::from_millis(n * every_ms)).expect("no violation");
            self.look();
            let (now, said) = (self.now(), say(n, &self.told));
            for bytes in said {
                let _refused = self.witness.hear(now, &bytes);
                self.group.broadcast(&bytes);
            }
        }
    }

    /// Waits until the members have come to rest.
    fn end(&mut self) -> Report {
        let report = self.group.run().unwrap_or_else(|violation| panic!("{violation}"));
        self.look();
        report
    }

    /// Sees to it that every member has every message of every other, and says when the last was
    /// delivered, in seconds.
    fn honest_converged(&self) -> f64 {
        let honest = |effect: &&Effect| {
            matches!(effect, Effect::Event(Event::Deliver(delivery))
                if delivery.entry.sender_id().as_str().is_some_and(|id| id.starts_with('p'))
                    && !is_forged(delivery.entry.message_id().as_str()))
        };
        assert_eq!(self.told.iter().filter(honest).count(), 5 * 40);
        self.group.report().delivered_at.as_micros() as f64 / 1e6
    }

    fn count(&self, is: impl Fn(&Effect) -> bool) -> usize {
        self.told.iter().filter(|effect| is(effect)).count()
    }
}

/// Whether an outsider made up this id, in the tests that use names of members.
fn is_forged(id: Option<&str>) -> bool {
    id.is_some_and(|id| id.starts_with('x') || id.starts_with("invented"))
}

fn said(id: &str, millis: u64) -> Said {
    lip109(id, millis).by("mallory").in_channel("simulated")
}

fn invented(n: u64, count: u64) -> Vec<String> {
    (0..count).map(|k| format!("invented {n}-{k}")).collect()
}

/// Runs the group without an attack.
fn baseline() -> Report {
    Attack::new(GROUP, |settings| settings).end()
}

#[test]
fn invented_dependencies_take_room_only_from_who_invents_them() {
    for names in [1, 7] {
        let mut attack = Attack::new(GROUP, |settings| settings.max_missing(256));
        attack.send(100, 1_000, |n, _| {
            // Whatever room a large one does not find, small ones take.
            let sizes = [60, 1, 1, 1, 1, 1, 1, 1, 1].into_iter().enumerate();
            let name = format!("mallory {}", n % names);
            let say = |(k, size)| {
                let ids = invented(n * 10 + k as u64, size);
                let said = said(&format!("x{n}-{k}"), n * 1_000).by(&name);
                said.after(ids.iter().map(String::as_str)).bytes()
            };
            sizes.map(say).collect()
        });
        attack.look();
        let by_mallory = attack.count(|effect| {
            matches!(effect, Effect::Event(Event::LimitReached { limit: Limit::Missing, sender_id, .. })
                if sender_id.as_str().is_some_and(|id| id.starts_with("mallory") || id == "bob"))
        });
        let by_others = attack
            .count(|effect| matches!(effect, Effect::Event(Event::LimitReached { .. })))
            - by_mallory;
        // Everything honest is there long before what was invented is given up.
        attack.group.run_until(Instant::from_millis(40 * 60_000)).expect("no violation");
        attack.look();
        attack.honest_converged();
        println!(
            "6,800 invented dependencies by {names}: {by_mallory} messages of theirs dropped{}",
            attack.memory()
        );
        assert!(by_mallory > 100 && by_others == 0, "{by_mallory} {by_others}");
    }
}

#[test]
fn requests_for_everything_are_answered_once_in_a_while() {
    let mut attack = Attack::new(GROUP, |settings| settings);
    attack.send(600, 200, |n, told| {
        let ids = told.iter().filter_map(|effect| match effect {
            Effect::Event(Event::Deliver(delivery)) => Some(delivery.entry.clone()),
            _ => None,
        });
        let asked: BTreeMap<MessageId, String> =
            ids.map(|entry| (entry.message_id().into(), entry.sender_id().to_string())).collect();
        let sync = said(&format!("s{n}"), n * 200).sync();
        let asks =
            asked.into_iter().fold(sync, |sync, (id, sender)| sync.asking(entry(id, &sender)));
        vec![asks.bytes()]
    });
    let report = attack.end();
    let repairs = report.sent(SendReason::Repair).messages;
    let before = baseline().sent(SendReason::Repair).messages;
    println!(
        "600 syncs that ask for everything: {repairs} answers, {before} without{}",
        attack.memory()
    );
    attack.honest_converged();
    // 40 messages, in 120 s, by 5 members, at most once in 15 s each.
    assert!(repairs < before + 40 * 5 * 9, "{repairs}");
}

#[test]
fn filters_of_all_ones_acknowledge_nothing() {
    let mut attack = Attack::new(GROUP, |settings| settings);
    let bytes = 8 * (1 + Geometry::new(100, 0.001).expect("a geometry").m_bits() / 64);
    attack.send(200, 500, |n, _| {
        let ones = Bytes::from(vec![0xff; usize::try_from(bytes).expect("small")]);
        vec![said(&format!("s{n}"), n * 500).by(&format!("m{n}")).sync().filter(ones).bytes()]
    });
    let report = attack.end();
    let after = report.acknowledged_after.iter().max();
    println!(
        "200 filters of all ones: acknowledged truly, the last after {after:?}{}",
        attack.memory()
    );
    assert_eq!(report.acknowledged_after.len(), 40);
    attack.honest_converged();
}

#[test]
fn far_future_clocks_are_refused_and_leave_time_to_publish() {
    for plan in [GROUP.to_owned(), format!("{GROUP}without_wall 5\n")] {
        let mut attack = Attack::new(&plan, |settings| settings);
        attack.send(100, 1_000, |n, _| {
            let far = [u64::MAX, 1 << 63, 1 << 53, 4_102_444_800_000 + 80_000_000];
            let far = far.into_iter().enumerate();
            far.map(|(k, lamport)| said(&format!("f{n}-{k}"), 0).lamport(lamport).bytes()).collect()
        });
        let report = attack.end();
        let newest = attack.told.iter().filter_map(|effect| match effect {
            Effect::Event(Event::Deliver(delivery)) if delivery.own => {
                Some(delivery.entry.lamport())
            }
            _ => None,
        });
        let years = newest.max().unwrap_or_default() / (365 * 24 * 3_600_000);
        println!(
            "400 far-future messages: {} refused, clocks at year {}{}",
            report.refused,
            1970 + years,
            attack.memory()
        );
        attack.honest_converged();
        assert!(report.refused > 1_000);
    }
}

#[test]
fn oversized_histories_are_refused_before_anything_is_kept() {
    let mut attack = Attack::new(GROUP, |settings| settings);
    attack.send(100, 1_000, |n, _| {
        let ids = invented(n, 300);
        vec![said(&format!("o{n}"), n * 1_000).after(ids.iter().map(String::as_str)).bytes()]
    });
    let report = attack.end();
    println!(
        "100 histories of 300 entries: {} refused at 5 members{}",
        report.refused,
        attack.memory()
    );
    assert_eq!(attack.honest_converged(), report.delivered_at.as_micros() as f64 / 1e6);
    assert_eq!(
        attack.count(|effect| matches!(effect, Effect::Event(Event::Missing { message_id, .. })
        if message_id.as_str().is_some_and(|id| id.starts_with('o')))),
        0
    );
}

#[test]
fn an_id_used_twice_is_reported_and_harms_no_other() {
    let mut attack = Attack::new(GROUP, |settings| settings);
    attack.send(50, 1_000, |n, _| {
        let twice = said(&format!("twice {n}"), n * 1_000);
        vec![twice.clone().content("one").bytes(), twice.content("two").bytes()]
    });
    let _report = attack.end();
    let conflicts = attack.count(|effect| {
        matches!(effect, Effect::Event(Event::Conflict { sender_id, .. })
        if *sender_id == "mallory".into())
    });
    println!("50 ids used twice: {conflicts} conflicts told{}", attack.memory());
    attack.honest_converged();
    assert!(conflicts >= 100);
}

#[test]
fn old_messages_said_again_change_nothing() {
    let mut attack = Attack::new(GROUP, |settings| settings);
    attack.send(100, 1_000, |_, told| {
        let sent = told.iter().filter_map(|effect| match effect {
            Effect::Send { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        sent.take(60).collect()
    });
    let report = attack.end();
    println!("every message said again each second: {} inputs{}", report.inputs, attack.memory());
    attack.honest_converged();
    assert_eq!((report.published, report.deliveries), (40, 200));
}

#[test]
fn invented_channels_are_not_opened_beyond_the_bound() {
    for auto_open in [false, true] {
        let mut attack =
            Attack::new(GROUP, |settings| settings.auto_open(auto_open).max_auto_channels(20));
        attack.send(100, 1_000, |n, _| {
            (0..10).map(|k| said("m", n * 1_000).in_channel(&format!("c{n}-{k}")).bytes()).collect()
        });
        let channels = attack.group.node(0).map_or(0, |node| node.channels().count());
        let limit = if auto_open { 21 } else { 1 };
        println!("1,000 invented channels: {} open{}", channels - 1, attack.memory());
        assert_eq!(channels, limit);
        if !auto_open {
            attack.end();
            attack.honest_converged();
        }
    }
}

#[test]
fn a_flood_in_the_name_of_a_member_is_logged_and_delays_nobody_for_long() {
    let mut attack = Attack::new(GROUP, |settings| {
        settings.max_log_messages(4_000).max_outgoing(100).max_ids(8_000)
    });
    attack.send(100, 1_000, |n, _| {
        (0..20).map(|k| said(&format!("f{n}-{k}"), n * 1_000).by("q0").bytes()).collect()
    });
    let report = attack.end();
    println!("2,000 messages in one name: {} deliveries{}", report.deliveries, attack.memory());
    attack.honest_converged();
    assert!(report.deliveries >= 200 + 5 * 1_990);
}

/// Counts dropped messages by channel, limit and sender.
fn dropped(told: &[Effect]) -> BTreeMap<(String, String, String), usize> {
    let mut dropped = BTreeMap::new();
    for effect in told {
        if let Effect::Event(Event::LimitReached { channel, limit, sender_id, .. }) = effect {
            let key = (channel.to_string(), format!("{limit:?}"), sender_id.to_string());
            *dropped.entry(key).or_default() += 1;
        }
    }
    dropped
}

#[test]
fn a_flood_on_invented_channels_leaves_the_real_one_alone() {
    let mut attack = Attack::new(GROUP, |settings| {
        let settings = settings.auto_open(true).max_auto_channels(4).max_log_messages(100);
        settings.max_ids(200).max_outgoing(50).max_missing(45).max_incoming_messages(45)
    });
    attack.send(300, 300, |n, _| {
        let on = |k: u64| {
            let said = said(&format!("x{n}"), n * 300).in_channel(&format!("c{k}"));
            // Some fill the log, some wait for the same for ever, some want ever more.
            match (n + k) % 3 {
                0 => said.bytes(),
                1 => said.naming(entry("invented", "mallory")).bytes(),
                _ => (0..5)
                    .fold(said, |said, d| {
                        said.naming(entry(format!("invented {n}-{d}").as_str(), "mallory"))
                    })
                    .bytes(),
            }
        };
        (0..8).map(on).collect()
    });
    let channels = attack.group.node(0).map_or(0, |node| node.channels().count());
    let report = attack.end();
    let dropped = dropped(&attack.told);
    println!(
        "2,400 messages on 8 invented channels: {} refused, dropped {dropped:?}{}",
        report.refused,
        attack.memory()
    );
    attack.honest_converged();
    assert_eq!(channels, 1 + 4);
    assert!(report.refused > 4_000, "of 5 × 1,200, but for those that were lost");
    let bit = |bound| dropped.keys().any(|(_, bit, _)| bit == bound);
    assert!(bit("Missing") && bit("Incoming"), "{dropped:?}");
    let elsewhere = |(channel, _, sender): &(String, String, String)| {
        channel.starts_with('c') && sender == "mallory"
    };
    assert!(dropped.keys().all(elsewhere), "{dropped:?}");
}

#[test]
fn a_flood_in_the_name_of_a_member_keeps_no_message_from_anybody() {
    // Messages that seem new or old when there is no room for what waits, and ever more names.
    for (old, wanted, incoming) in [(false, 4_096, 48), (true, 4_096, 48), (false, 64, 4_096)] {
        let mut attack = Attack::new(GROUP, |settings| {
            settings.max_missing(wanted).max_incoming_messages(incoming)
        });
        attack.send(100, 1_000, |n, _| {
            let say = |k: u64| {
                let millis = if old { 0 } else { n * 1_000 };
                let said = said(&format!("x{n}-{k}"), millis).by("p0");
                (0..4).fold(said, |said, d| said.naming(invented_of_p0(n, k, d))).bytes()
            };
            (0..10).map(say).collect()
        });
        // Everything honest is there before what was invented is given up, also what p0 says.
        attack.group.run_until(Instant::from_millis(50 * 60_000)).expect("no violation");
        attack.look();
        let dropped = dropped(&attack.told);
        println!(
            "1,000 messages in the name of p0, old {old}: dropped {dropped:?}{}",
            attack.memory()
        );
        attack.honest_converged();
        let bit = |bound| dropped.keys().any(|(_, bit, _)| bit == bound);
        assert!(bit(if wanted == 64 { "Missing" } else { "Incoming" }), "{dropped:?}");
        // The sender is reported, of forged and of honest messages.
        let authors: BTreeMap<_, _> = attack.told.iter().filter_map(author).collect();
        for effect in &attack.told {
            let Effect::Event(Event::LimitReached { message_id, sender_id, .. }) = effect else {
                continue;
            };
            let author = if is_forged(message_id.as_str()) {
                "p0"
            } else {
                authors.get(message_id).expect("an honest message").as_str()
            };
            assert_eq!(sender_id.as_str(), Some(author), "{message_id}");
        }
    }
}

fn invented_of_p0(n: u64, k: u64, d: u64) -> HistoryEntry {
    let id = if k < 5 { "invented".into() } else { format!("invented {n}-{k}-{d}") };
    entry(id.as_str(), "p0")
}

fn author(effect: &Effect) -> Option<(MessageId, String)> {
    let Effect::Event(Event::Deliver(told)) = effect else { return None };
    Some((told.entry.message_id().into(), told.entry.sender_id().to_string()))
}
