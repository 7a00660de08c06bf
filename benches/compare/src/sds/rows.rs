//! The rows: what each measures, beside what, and what it is held to.

use std::rc::Rc;

use super::drivers::{Driver, EventLoop, Smol, Tokio};
use super::filters::Filters;
use super::floor::Floor;
use super::measure::{self, Round};
use super::ours::{Clock, receive_all};
use super::peer::Peer;
use super::report::{Mark, Measured};
use super::setup::{REVERSED, Setup};
use super::stream::{Recipe, Spoken, Stream};

const NS: &str = "ns/message";
const RATE: &str = "messages/s";

/// One line of the comparison.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) reference_name: String,
    pub(crate) marks: &'static [Mark],
    prepare: Box<Prepare>,
}

/// Makes ready what is not measured.
type Prepare = dyn Fn(&Setup) -> anyhow::Result<Round>;

type MakeStream = dyn Fn(&Setup) -> anyhow::Result<Stream>;

impl Row {
    fn new(
        id: &str,
        what: &'static str,
        unit: &'static str,
        reference_name: &str,
        marks: &'static [Mark],
        prepare: impl Fn(&Setup) -> anyhow::Result<Round> + 'static,
    ) -> Self {
        let (id, reference_name) = (id.into(), reference_name.into());
        Self { id, what, unit, reference_name, marks, prepare: Box::new(prepare) }
    }

    /// Makes ready for its rounds what is not measured.
    ///
    /// # Errors
    ///
    /// It cannot be made. For rows of others, that they are not here.
    pub(crate) fn prepare(&self, setup: &Setup) -> anyhow::Result<Round> {
        (self.prepare)(setup)
    }

    /// Whether it is left out, and not an error, if it cannot be made ready.
    pub(crate) fn is_optional(&self) -> bool {
        self.id.starts_with("js_")
    }
}

/// All rows, in the order of the report: ours, those of a stream file, those of each peer.
pub(crate) fn rows(stream: Option<&Rc<Stream>>, peers: &[Peer]) -> Vec<Row> {
    let mut rows = ours();
    if let Some(stream) = stream {
        rows.push(receive_stream(stream));
    }
    for (index, peer) in peers.iter().enumerate() {
        let number = if index == 0 { String::new() } else { (index + 1).to_string() };
        rows.extend(peer_rows(&format!("peer{number}"), peer, stream));
    }
    rows
}

fn ours() -> Vec<Row> {
    use Mark::{AtLeast, AtMost, PerSecond, Within};
    vec![
        Row::new(
            "receive_in_order",
            "receive in order, nim dialect with full filters, log at its bound",
            NS,
            "floor",
            &[AtMost(2.0), PerSecond(400_000.0)],
            |setup| measure::receive_in_order(setup, 0),
        ),
        Row::new(
            "receive_100_unacked",
            "the same with 100 own messages that nobody has acknowledged",
            NS,
            "floor",
            &[AtMost(3.0)],
            |setup| measure::receive_in_order(setup, 100),
        ),
        Row::new(
            "receive_reversed",
            "receive 10,000 messages, the last one first",
            NS,
            "the same in order",
            &[AtMost(1.5)],
            measure::receive_reversed,
        ),
        Row::new(
            "publish_full_filter",
            "publish with a filter of full size, 1,000 messages logged and unacknowledged",
            NS,
            "floor",
            &[AtMost(3.0)],
            |_| measure::publish_full_filter(),
        ),
        Row::new(
            "publish_sized_filter",
            "publish with a filter sized to its content, 50 messages unacknowledged",
            RATE,
            "mark",
            &[AtLeast(1.0)],
            measure::publish_sized_filter,
        ),
        Row::new(
            "js_send",
            "publish 1,000 messages, LIP-109",
            RATE,
            "@waku/sds",
            &[AtLeast(50.0)],
            measure::js_send,
        ),
        Row::new(
            "js_in_order",
            "receive 1,000 messages in order, LIP-109",
            RATE,
            "@waku/sds",
            &[AtLeast(50.0)],
            |setup| {
                let js = setup.js()?;
                measure::beside_peer(js.stream.clone(), js.js.receive(), js.in_order.clone())
            },
        ),
        Row::new(
            "js_reversed",
            "receive 1,000 messages, the last one first, LIP-109",
            RATE,
            "@waku/sds",
            &[AtLeast(50.0)],
            |setup| {
                let js = setup.js()?;
                measure::beside_peer(js.stream.reversed(), js.js.receive(), js.reversed.clone())
            },
        ),
        Row::new(
            "wire_bytes",
            "a message of 64 bytes in a channel of 50, nim dialect, two history entries",
            "bytes",
            "mark",
            &[AtMost(1.0)],
            |_| measure::wire_bytes(),
        ),
        Row::new(
            "allocs_receive",
            "allocations as in receive_in_order",
            "a message",
            "mark",
            &[AtMost(1.0)],
            measure::allocs_receive,
        ),
        Row::new(
            "allocs_publish",
            "allocations as in publish_sized_filter",
            "a message",
            "mark",
            &[AtMost(1.0)],
            |_| measure::allocs_publish(),
        ),
        Row::new(
            "idle_100k",
            "a tick with nothing due on a node in 100,000 channels",
            "ns/tick",
            "in 1 channel",
            &[Within(0.8, 1.2)],
            measure::idle,
        ),
        driver_row::<Smol>("driver_smol"),
        driver_row::<Tokio>("driver_tokio"),
        driver_row::<EventLoop>("driver_event_loop"),
        filter_row(
            "filter_insert_nim",
            "hash an id and insert it",
            Spoken::NimSds,
            Filters::insert,
        ),
        filter_row(
            "filter_insert_lip109",
            "hash an id and insert it",
            Spoken::Lip109,
            Filters::insert,
        ),
        filter_row("filter_lookup_nim", "hash an id and find it", Spoken::NimSds, Filters::look_up),
        filter_row(
            "filter_lookup_lip109",
            "hash an id and find it",
            Spoken::Lip109,
            Filters::look_up,
        ),
    ]
}

fn driver_row<D: Driver + 'static>(id: &str) -> Row {
    let what = "from publishing to the peer's delivery over UDP, median";
    Row::new(id, what, "µs", "a bare datagram", &[Mark::AtMost(2.0)], measure::driver::<D>)
}

fn filter_row(
    id: &str,
    what: &'static str,
    dialect: Spoken,
    work: fn(&mut Filters, usize) -> anyhow::Result<f64>,
) -> Row {
    Row::new(id, what, "ids/s", "mark", &[Mark::AtLeast(1.0)], move |setup| {
        measure::filter(setup, dialect, work)
    })
}

/// The stream of a file, whose messages need not be in order.
fn receive_stream(stream: &Rc<Stream>) -> Row {
    let stream = Rc::clone(stream);
    let what = "receive the messages of the stream file";
    Row::new("receive_stream", what, NS, "floor", &[], move |_| {
        let stream = Rc::clone(&stream);
        let floor = Floor::of(&stream)?;
        Ok(Box::new(move || {
            Ok(Measured::beside_floor(receive_all(&stream, Clock::Processor)?, floor.receive()))
        }))
    })
}

/// A foreign program beside ours, on the streams of the receiving rows and that of a file.
fn peer_rows(name: &str, peer: &Peer, stream: Option<&Rc<Stream>>) -> Vec<Row> {
    let row = |what, text, make: Box<MakeStream>| {
        let (id, peer) = (format!("{name}_{what}"), peer.clone());
        let command = peer.0.clone();
        Row::new(&id.clone(), text, RATE, &command, &[], move |setup| {
            let stream = make(setup)?;
            let path = setup.file(&id, &stream)?;
            measure::beside_peer(stream, peer.clone(), path)
        })
    };
    let mut rows = vec![
        row(
            "in_order",
            "receive 20,000 messages in order, nim dialect",
            Box::new(|setup| Ok((*setup.nim()?).clone())),
        ),
        row(
            "reversed",
            "receive 10,000 messages, the last one first, nim dialect",
            Box::new(|_| Ok(Recipe::plain(Spoken::NimSds, REVERSED).make()?.reversed())),
        ),
    ];
    if let Some(stream) = stream.cloned() {
        let make = Box::new(move |_: &Setup| Ok((*stream).clone()));
        rows.push(row("stream", "receive the messages of the stream file", make));
    }
    rows
}
