//! A participant without wasm, for the exchange: reads inputs from standard input, writes effects
//! to standard output.
//!
//! ```text
//! publish MONO WALL ID TEXT | datagram MONO WALL HEX | tick MONO WALL
//! ```
//!
//! Times are milliseconds. The answer to each line is any number of `send HEX`, then
//! `done DEADLINE LOG_LENGTH DIGEST`, where the deadline may be `-`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;

use sds_proto::{ChannelId, Config, Effect, Input, Instant, Node, Now, PublishKind, UnixMillis};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: native NAME CHANNEL")?;
    let channel = ChannelId::from(std::env::args().nth(2).ok_or("usage: native NAME CHANNEL")?);
    let config = Config::chat().participant_id(name.into()).seed(3).build()?;
    let mut node = Node::new(config);
    let opened = Input::Open { channel: channel.clone(), config: None };
    node.handle(Now::default(), opened)?;
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let (input, mono, wall) = match *words.as_slice() {
            ["publish", mono, wall, id, text] => {
                let (message_id, content) = (id.into(), text.to_owned().into());
                let (channel, kind) = (channel.clone(), PublishKind::Content);
                (Input::Publish { channel, message_id, content, kind }, mono, wall)
            }
            ["datagram", mono, wall, hex] => (Input::Datagram(from_hex(hex)?.into()), mono, wall),
            ["tick", mono, wall] => (Input::Tick, mono, wall),
            _ => return Err(format!("not understood: {line}").into()),
        };
        let now = Now::new(Instant::from_millis(mono.parse()?), UnixMillis(wall.parse()?));
        node.handle(now, input)?;
        while let Some(effect) = node.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                writeln!(out, "send {}", hex(&bytes))?;
            }
        }
        let deadline = node.next_deadline().map(|deadline| deadline.at.as_micros().div_ceil(1_000));
        let deadline = deadline.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let log = node.log(&channel).ok_or("the channel is open")?;
        writeln!(out, "done {deadline} {} {}", log.len(), log.digest())?;
        out.flush()?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let pairs = text.as_bytes().chunks(2).map(str::from_utf8);
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}
