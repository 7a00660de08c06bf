//! Two participants, one message lost on the way, no network: what goes in and what comes out.
//!
//! `cargo run --example in_memory`

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    reason = "an example talks, has std, and picks the effects it shows"
)]

use std::collections::VecDeque;
use std::error::Error;
use std::process::ExitCode;

use bytes::Bytes;
use sds_proto::{
    ChannelId, Config, Effect, Event, Input, Instant, MessageId, Node, Now, PublishKind, UnixMillis,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("in_memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let channel = ChannelId::from_static("greetings");
    let mut nodes = Vec::new();
    for (seed, name) in ["alice", "bob"].into_iter().enumerate() {
        let config = Config::chat().participant_id(name.into()).seed(seed as u64).build()?;
        let mut node = Node::new(config);
        node.handle(at(0), Input::Open { channel: channel.clone(), config: None })?;
        nodes.push(node);
    }

    for (id, text) in [("m1", "hello"), ("m2", "anybody there?")] {
        nodes[0].handle(
            at(10),
            Input::Publish {
                channel: channel.clone(),
                message_id: MessageId::from(id),
                content: Bytes::from(text),
                kind: PublishKind::Content,
            },
        )?;
    }

    // Every message goes to the other one, but for the very first, which is lost.
    let mut in_flight: VecDeque<(usize, Bytes)> = VecDeque::new();
    let mut lost = false;
    let mut now = 10;
    loop {
        for (index, node) in nodes.iter_mut().enumerate() {
            while let Some(effect) = node.poll_effect() {
                match effect {
                    Effect::Send { reason, message_id, .. } if !lost => {
                        println!(
                            "{now:>6} ms  {} sends {message_id} ({reason:?}): lost",
                            name(index)
                        );
                        lost = true;
                    }
                    Effect::Send { reason, message_id, bytes, .. } => {
                        println!("{now:>6} ms  {} sends {message_id} ({reason:?})", name(index));
                        in_flight.push_back((1 - index, bytes));
                    }
                    Effect::Event(Event::Deliver(delivery)) => {
                        let id = delivery.entry.message_id();
                        let text = String::from_utf8_lossy(delivery.entry.content());
                        println!("{now:>6} ms  {} has {id}: {text}", name(index));
                    }
                    Effect::Event(Event::Missing { message_id, missing, .. }) => {
                        let id = &missing[0].message_id;
                        println!(
                            "{now:>6} ms  {} has {message_id} too, but it needs {id}",
                            name(index)
                        );
                    }
                    _ => {}
                }
            }
        }
        if let Some((to, bytes)) = in_flight.pop_front() {
            nodes[to].handle(at(now), Input::Datagram(bytes))?;
            continue;
        }
        if nodes[1].log(&channel).is_some_and(|log| log.len() == 2) {
            break;
        }
        // Nothing is on the way: time jumps to whatever is due next.
        let due = nodes.iter().filter_map(Node::next_deadline).map(|deadline| deadline.at).min();
        now = due.ok_or("nothing is due any more")?.as_micros() / 1_000 + 1;
        for node in &mut nodes {
            node.handle(at(now), Input::Tick)?;
        }
    }
    println!("both logs: {}", nodes[1].log(&channel).ok_or("closed")?.digest());
    Ok(())
}

fn at(millis: u64) -> Now {
    Now::new(Instant::from_millis(millis), UnixMillis(1_767_225_600_000 + millis))
}

const fn name(index: usize) -> &'static str {
    if index == 0 { "alice" } else { "bob  " }
}
