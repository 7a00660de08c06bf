use core::cell::RefCell;

use sds_proto::stored::Write;
use sds_proto::wire::NimForm;
use sds_proto::{Dialect, Durability, StoreError};
use sds_runtime::Store;
use sds_runtime::store::{Faults, Faulty, Memory, Record, StoreFuture, Switch};

use super::*;
use crate::request::Passed;
use crate::settings::Settings;
use crate::text::Text;

/// Writes down what it is told.
#[derive(Default)]
struct Recorder {
    told: RefCell<Vec<String>>,
    sent: RefCell<Vec<Vec<u8>>>,
}

impl Recorder {
    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

impl Host for Recorder {
    fn event(&self, json: Vec<u8>) {
        self.told.borrow_mut().push(Text::from(json).as_str().to_owned());
    }

    fn hint(&self, _: &MessageId) -> Option<Bytes> {
        None
    }

    fn outgoing(&self, channel: &ChannelId, reason: SendReason, datagram: &[u8]) {
        self.told.borrow_mut().push(format!("{reason:?} in {channel}"));
        self.sent.borrow_mut().push(datagram.to_vec());
    }
}

fn at(seconds: u64) -> Now {
    let wall = UnixMillis(1_767_225_600_000 + seconds * 1_000);
    Now::new(Instant::from_millis(seconds * 1_000), wall)
}

/// In the form of the nim dialect that names senders.
fn from_json(participant: &str, json: &str) -> Worker {
    let mut settings = Settings::from_json(participant.into(), json.as_bytes()).unwrap();
    settings.config = settings.config.to_builder().nim_form(NimForm::V04).build().unwrap();
    Worker::new(settings)
}

fn ask(
    worker: &mut Worker,
    now: Now,
    request: Request,
    host: &Recorder,
) -> Result<Vec<u8>, Failure> {
    let mut answer = Vec::new();
    worker.carry_out(now, request, host, &mut answer).map(|()| answer)
}

#[expect(clippy::unnecessary_wraps, reason = "as failures have it")]
const fn rejected(reason: RejectReason) -> Option<Reason> {
    Some(Reason::Rejected(reason))
}

fn json(answer: &[u8]) -> serde_json::Value {
    serde_json::from_slice(answer).unwrap()
}

fn wrap(worker: &mut Worker, id: &str, host: &Recorder) -> Result<Vec<u8>, Failure> {
    let kind = Wrapping::Content(Form::Binary);
    ask(worker, at(0), wrapping(id, kind), host)
}

fn wrapping(id: &str, kind: Wrapping) -> Request {
    Request::Wrap {
        message_id: id.into(),
        channel: "ch".into(),
        content: Bytes::from("hello").into(),
        kind,
    }
}

fn unwrap(worker: &mut Worker, now: Now, datagram: &[u8], host: &Recorder) -> Vec<u8> {
    let datagram = Bytes::copy_from_slice(datagram).into();
    ask(worker, now, Request::Unwrap { datagram, form: Form::Binary }, host).unwrap()
}

#[test]
fn periodic_sync_comes_at_once_and_then_every_period_for_each_set_of_tasks() {
    let (mut worker, host) = (Worker::new(Settings::of_nim_sds().unwrap()), Recorder::default());
    let sync = "{\"eventType\":\"periodic_sync\"}";
    assert_eq!(worker.deadline(), None);
    ask(&mut worker, at(0), Request::StartPeriodicTasks, &host).unwrap();
    ask(&mut worker, at(10), Request::StartPeriodicTasks, &host).unwrap();
    assert_eq!(host.told(), [sync, sync]);
    for (second, events) in [(29, 0), (30, 1), (39, 0), (40, 1), (60, 1), (70, 1)] {
        worker.tick(at(second), &host);
        assert_eq!(host.told().len(), events, "at {second} s");
    }
    assert_eq!(worker.deadline(), Some(at(90).mono));
    // A machine that has slept hears of it once for each set.
    worker.tick(at(3_600), &host);
    assert_eq!(host.told(), [sync, sync]);
}

#[test]
fn a_context_of_nim_sds_sends_nothing_by_itself_and_publishes_without_end() {
    let (mut worker, host) = (Worker::new(Settings::of_nim_sds().unwrap()), Recorder::default());
    for index in 0..1_500 {
        wrap(&mut worker, &format!("m{index}"), &host).unwrap();
    }
    worker.tick(at(100_000), &host);
    assert_eq!((host.told(), worker.deadline()), (vec![], None));
}

#[test]
fn what_a_context_sends_by_itself_goes_out() {
    let (mut alice, host) = (from_json("alice", "{}"), Recorder::default());
    wrap(&mut alice, "m1", &host).unwrap();
    assert_eq!(host.told(), [""; 0]);
    while let Some(due) = alice.deadline().filter(|due| *due < at(60).mono) {
        alice.tick(Now { mono: due, ..at(60) }, &host);
    }
    assert!(host.told().contains(&"Resend in ch".to_owned()));

    let (mut bob, bob_host) = (from_json("bob", "{}"), Recorder::default());
    unwrap(&mut bob, at(60), &host.sent.borrow()[0], &bob_host);
    let ready = r#"{"messageId":"m1","channelId":"ch","eventType":"message_ready","seq":1,"gap":false,"senderId":"alice","lamport":1767225600000,"follows":null}"#;
    assert_eq!(bob_host.told(), [ready]);
    let answer = wrap(&mut bob, "b1", &bob_host).unwrap();
    unwrap(&mut alice, at(61), &answer, &host);
    let told = host.told();
    assert_eq!(told[0], r#"{"messageId":"m1","channelId":"ch","eventType":"message_sent"}"#);
}

#[test]
fn binary_answers_are_a_header_and_the_content() {
    let (mut alice, mut bob) = (from_json("alice", "{}"), from_json("bob", "{}"));
    let host = Recorder::default();
    wrap(&mut alice, "m1", &host).unwrap();
    let datagram = wrap(&mut alice, "m2", &host).unwrap();
    let answer = unwrap(&mut bob, at(0), &datagram, &host);
    let header = usize::try_from(u32::from_le_bytes(answer[..4].try_into().unwrap())).unwrap();
    let (header, content) = answer[4..].split_at(header);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let missing = serde_json::json!([{ "messageId": "m1", "retrievalHint": "" }]);
    assert_eq!(header["messageId"], "m2");
    assert_eq!(header["missingDeps"], missing);
    assert_eq!(content, b"hello");
}

#[test]
fn ephemeral_messages_are_told_and_not_logged() {
    let host = Recorder::default();
    let mut nim = from_json("alice", "{}");
    let refused = ask(&mut nim, at(0), wrapping("e1", Wrapping::Ephemeral), &host);
    assert_eq!(refused.unwrap_err().reason, rejected(RejectReason::EphemeralNotInDialect));

    let json = r#"{"dialect":"lip109"}"#;
    let (mut alice, mut bob) = (from_json("alice", json), from_json("bob", json));
    let datagram = ask(&mut alice, at(0), wrapping("e1", Wrapping::Ephemeral), &host).unwrap();
    unwrap(&mut bob, at(0), &datagram, &host);
    assert_eq!(host.told(), [r#"{"messageId":"e1","channelId":"ch","eventType":"ephemeral"}"#]);
    let status = ask(&mut bob, at(0), Request::Status { channel: "ch".into() }, &host).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!((&status["logged"], &status["missing"]), (&0.into(), &0.into()));
}

#[test]
fn a_bridge_sends_the_copy_in_the_other_dialect_by_itself() {
    let (mut worker, host) = (from_json("alice", r#"{"dialect":"bridge"}"#), Recorder::default());
    let datagram = wrap(&mut worker, "m1", &host).unwrap();
    assert_eq!(host.told(), ["New in ch"]);
    assert_ne!(datagram, host.sent.borrow()[0]);
    assert_eq!(worker.node.config().dialect(), Dialect::Bridge);
}

#[test]
fn a_message_that_there_is_no_room_to_wait_for_is_an_error() {
    let (mut alice, host) = (from_json("alice", "{}"), Recorder::default());
    let mut settings = Settings::of_nim_sds().unwrap();
    settings.config = settings.config.to_builder().max_missing(1).build().unwrap();
    let mut bob = Worker::new(settings);
    let datagrams = ["m1", "m2", "m3"].map(|id| wrap(&mut alice, id, &host).unwrap());
    let datagram = Bytes::copy_from_slice(&datagrams[2]).into();
    let unwrap = Request::Unwrap { datagram, form: Form::Text };
    assert_eq!(ask(&mut bob, at(0), unwrap, &host), Err(Code::OutOfMemory.into()));
}

#[test]
fn a_wrap_that_fails_opens_no_channel() {
    let (mut alice, host) = (from_json("alice", "{}"), Recorder::default());
    let kind = Wrapping::Content(Form::Text);
    let (message_id, channel, content) = ("m1".into(), "ch".into(), Bytes::new().into());
    let empty = Request::Wrap { message_id, channel, content, kind };
    assert_eq!(ask(&mut alice, at(0), empty, &host).unwrap_err().code, Code::InvalidArgument);
    assert!(alice.node.channels().next().is_none());
}

#[test]
fn counts_and_failures_say_what_happened() {
    let (mut worker, host) = (from_json("alice", "{}"), Recorder::default());
    wrap(&mut worker, "m1", &host).unwrap();
    let datagram = Bytes::from_static(b"junk").into();
    let failure = ask(&mut worker, at(0), Request::Unwrap { datagram, form: Form::Binary }, &host)
        .unwrap_err();
    assert_eq!(failure.code, Code::DeserializationError);
    let unknown = Request::Status { channel: "other".into() };
    let name = unknown.name();
    let failure = ask(&mut worker, at(0), unknown, &host).unwrap_err();
    assert_eq!(
        Request::failure(name, failure).as_str(),
        "error processing STATUS request: reInvalidArgument: the channel is not open"
    );
    let metrics = ask(&mut worker, at(0), Request::Metrics, &host).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
    assert_eq!((&metrics["wrapped"], &metrics["refused"]), (&1.into(), &1.into()));

    let remove = || Request::RemoveChannel { channel: "ch".into() };
    ask(&mut worker, at(0), remove(), &host).unwrap();
    ask(&mut worker, at(0), remove(), &host).unwrap();
    assert!(worker.node.channels().next().is_none());
}

/// A worker whose store keeps `records`, and what makes it fail.
fn with_store(records: &Memory) -> (Worker, Switch) {
    let store = Faulty::new(records.clone(), Faults::seeded(0));
    let switch = store.switch();
    (on_store(store), switch)
}

fn on_store(store: impl Store) -> Worker {
    let mut settings = Settings::from_json("alice".into(), b"{}").unwrap();
    let config = settings.config.to_builder().durability(Durability::Strict);
    settings.config = config.build().unwrap();
    settings.storage = Some(Storage::start(store, Durability::Strict).unwrap());
    Worker::new(settings)
}

/// A store whose records are damaged.
struct Unreadable(Memory);

impl Store for Unreadable {
    fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
        self.0.write(batch)
    }

    fn load(&mut self, _: &ChannelId) -> StoreFuture<Vec<Record>> {
        Box::pin(core::future::ready(Err(StoreError::Corrupt)))
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        Store::channels(&mut self.0)
    }
}

#[test]
fn what_was_not_consumed_is_told_again_after_a_restart_with_its_content() {
    let (records, host) = (Memory::default(), Recorder::default());
    let mut bob = from_json("bob", "{}");
    let datagrams = ["b1", "b2"].map(|id| wrap(&mut bob, id, &host).unwrap());
    let (mut alice, _) = with_store(&records);
    for datagram in &datagrams {
        unwrap(&mut alice, at(0), datagram, &host);
    }
    let up_to = sds_proto::DeliverySeq(1);
    ask(&mut alice, at(0), Request::Consumed { channel: "ch".into(), up_to }, &host).unwrap();
    wrap(&mut alice, "a1", &host).unwrap();
    host.told();

    let (mut alice, _) = with_store(&records);
    assert_eq!(wrap(&mut alice, "a1", &host).map(drop), Ok(()), "the same message again");
    let again = r#"{"messageId":"b2","channelId":"ch","eventType":"message_ready","seq":2,"gap":false,"senderId":"bob","lamport":1767225600001,"follows":"b1","message":"aGVsbG8="}"#;
    assert_eq!(host.told(), [again]);
    unwrap(&mut alice, at(0), &datagrams[0], &host);
    assert_eq!(host.told(), [""; 0], "a repeat");
}

#[test]
fn what_the_store_refuses_fails_and_goes_out_once_it_takes_it() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, switch) = with_store(&records);
    wrap(&mut alice, "a1", &host).unwrap();
    switch.fail(Some(StoreError::Full));
    assert_eq!(wrap(&mut alice, "a2", &host).unwrap_err().code, Code::PersistenceError);
    assert_eq!(wrap(&mut alice, "a3", &host).unwrap_err().code, Code::PersistenceError);
    switch.fail(None);
    let retry = alice.deadline().unwrap();
    alice.tick(Now { mono: retry, ..at(0) }, &host);
    assert_eq!(host.told(), ["New in ch"]);
    wrap(&mut alice, "a3", &host).unwrap();
}

#[test]
fn a_channel_that_cannot_be_loaded_is_tried_again() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, switch) = with_store(&records);
    switch.fail(Some(StoreError::Unavailable));
    assert_eq!(wrap(&mut alice, "a1", &host).unwrap_err().code, Code::PersistenceError);
    switch.fail(None);
    wrap(&mut alice, "a1", &host).unwrap();
}

/// The context that a process makes after another has ended.
fn restarted(records: &Memory, now: Now, host: &Recorder) -> (Worker, Switch) {
    let (mut worker, switch) = with_store(records);
    ask(&mut worker, now, Request::Start, host).unwrap();
    (worker, switch)
}

/// Ticks whenever something is due.
fn tick_until(worker: &mut Worker, end: Now, host: &Recorder) {
    while let Some(due) = worker.deadline().filter(|due| *due <= end.mono) {
        worker.tick(Now { mono: due, ..end }, host);
    }
}

#[test]
fn stored_channels_open_and_resend_without_a_call() {
    let (records, host) = (Memory::default(), Recorder::default());
    let mut bob = from_json("bob", "{}");
    let datagram = wrap(&mut bob, "b1", &host).unwrap();
    let (mut alice, _) = restarted(&records, at(0), &host);
    unwrap(&mut alice, at(0), &datagram, &host);
    wrap(&mut alice, "a1", &host).unwrap();
    host.told();

    let (mut alice, _) = restarted(&records, at(10), &host);
    assert_eq!((host.told(), alice.deadline()), (vec![], Some(at(11).mono)));
    tick_until(&mut alice, at(11), &host);
    let told = host.told();
    assert!(told[0].starts_with(r#"{"messageId":"b1","channelId":"ch","#), "{told:?}");
    tick_until(&mut alice, at(120), &host);
    assert!(host.told().contains(&"Resend in ch".to_owned()));
}

#[test]
fn stored_channels_are_open_at_the_first_call() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, _) = restarted(&records, at(0), &host);
    wrap(&mut alice, "a1", &host).unwrap();
    let (mut alice, _) = restarted(&records, at(1), &host);
    let status = ask(&mut alice, at(1), Request::Status { channel: "ch".into() }, &host).unwrap();
    assert_eq!(json(&status)["outgoing"], 1);
    let channels = ask(&mut alice, at(1), Request::Channels { after: "".into() }, &host).unwrap();
    assert_eq!(json(&channels), serde_json::json!({ "channels": ["ch"], "more": false }));
    let none = ask(&mut alice, at(1), Request::Channels { after: "ch".into() }, &host).unwrap();
    assert_eq!(json(&none)["channels"], serde_json::json!([]));
}

#[test]
fn a_stored_channel_that_cannot_be_loaded_is_told() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, _) = restarted(&records, at(0), &host);
    wrap(&mut alice, "a1", &host).unwrap();

    let mut alice = on_store(Unreadable(records.clone()));
    ask(&mut alice, at(0), Request::Start, &host).unwrap();
    tick_until(&mut alice, at(1), &host);
    let wanted = r#"{"channelId":"ch","eventType":"open_failed","reason":"the channel's state could not be loaded: "#;
    let told = host.told();
    assert!(told.len() == 1 && told[0].starts_with(wanted), "{told:?}");
    let open = Request::OpenChannel { channel: "ch".into() };
    let reason = RejectReason::LoadFailed(StoreError::Corrupt);
    assert_eq!(ask(&mut alice, at(1), open, &host), Err(reason.into()));
    // It can be removed all the same.
    ask(&mut alice, at(1), Request::RemoveChannel { channel: "ch".into() }, &host).unwrap();
    assert_eq!(records.channels(), []);
}

#[test]
fn a_store_that_cannot_list_its_channels_says_so() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, switch) = restarted(&records, at(0), &host);
    switch.fail(Some(StoreError::Unavailable));
    tick_until(&mut alice, at(1), &host);
    let told = host.told();
    assert_eq!(json(told[0].as_bytes())["eventType"], "open_failed");
    assert_eq!(json(told[0].as_bytes())["channelId"], serde_json::Value::Null);
}

#[test]
fn a_reset_forgets_what_is_stored() {
    let (records, host) = (Memory::default(), Recorder::default());
    let (mut alice, _) = restarted(&records, at(0), &host);
    wrap(&mut alice, "a1", &host).unwrap();
    let (mut alice, _) = restarted(&records, at(0), &host);
    ask(&mut alice, at(0), Request::Reset, &host).unwrap();
    assert_eq!(records.channels(), []);
}

#[test]
fn a_message_that_waited_through_a_restart_is_told_with_its_content() {
    let (records, host) = (Memory::default(), Recorder::default());
    let mut bob = from_json("bob", "{}");
    let [b1, b2] = ["b1", "b2"].map(|id| wrap(&mut bob, id, &host).unwrap());
    let (mut alice, _) = restarted(&records, at(0), &host);
    unwrap(&mut alice, at(0), &b2, &host);
    host.told();

    let (mut alice, _) = restarted(&records, at(1), &host);
    tick_until(&mut alice, at(2), &host);
    let told = host.told();
    let missing = json(told[0].as_bytes());
    assert_eq!((told.len(), &missing["eventType"]), (1, &"missing_dependencies".into()));
    unwrap(&mut alice, at(2), &b1, &host);
    let told: Vec<_> = host.told().iter().map(|told| json(told.as_bytes())).collect();
    assert_eq!((&told[0]["messageId"], told[0].get("message")), (&"b1".into(), None));
    assert_eq!((&told[1]["messageId"], &told[1]["message"]), (&"b2".into(), &"aGVsbG8=".into()));
    assert_eq!((&told[1]["senderId"], &told[1]["follows"]), (&"bob".into(), &"b1".into()));
    assert!(told[1]["lamport"].as_u64() > told[0]["lamport"].as_u64());
}

#[test]
fn a_log_is_told_page_by_page() {
    let host = Recorder::default();
    let mut alice = from_json("alice", "{}");
    for index in 0..25 {
        wrap(&mut alice, &format!("m{index:02}"), &host).unwrap();
    }
    let page = |alice: &mut Worker, after: Option<Bytes>, max| {
        ask(alice, at(0), Request::Log { channel: "ch".into(), after, max }, &host)
    };
    let (mut after, mut ids, mut pages) = (None, Vec::new(), 0);
    loop {
        let answer = json(&page(&mut alice, after, 10).unwrap());
        for entry in answer["entries"].as_array().unwrap() {
            assert_eq!(
                (&entry["senderId"], &entry["message"]),
                (&"alice".into(), &"aGVsbG8=".into())
            );
            ids.push(entry["messageId"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(next) = answer.get("next") else { break };
        after = Some(next.as_str().unwrap().to_owned().into());
    }
    let wanted: Vec<_> = (0..25).map(|index| format!("m{index:02}")).collect();
    assert_eq!((ids, pages), (wanted, 3));
    // A page that ends with the log has no next one; 0 is as many as there can be.
    for max in [25, 0, usize::MAX] {
        assert_eq!(json(&page(&mut alice, None, max).unwrap()).get("next"), None);
    }
    let failure = page(&mut alice, Some("m03".into()), 10).unwrap_err();
    assert_eq!(failure.reason, Some(Reason::NotACursor));
    let unknown = Request::Log { channel: "other".into(), after: None, max: 1 };
    let failure = ask(&mut alice, at(0), unknown, &host).unwrap_err();
    assert_eq!(failure.reason, rejected(RejectReason::ChannelNotOpen));
}

#[test]
fn a_page_of_a_log_ends_when_it_is_large() {
    let (mut alice, host) = (from_json("alice", "{}"), Recorder::default());
    for index in 0..5 {
        let (message_id, channel) = (format!("m{index}").into(), "ch".into());
        let content = Bytes::from(vec![b'x'; 700_000]).into();
        let kind = Wrapping::Content(Form::Binary);
        ask(&mut alice, at(0), Request::Wrap { message_id, channel, content, kind }, &host)
            .unwrap();
    }
    let log = Request::Log { channel: "ch".into(), after: None, max: 0 };
    let page = json(&ask(&mut alice, at(0), log, &host).unwrap());
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(2));
    assert!(page.get("next").is_some());
}

#[test]
fn a_channel_id_with_a_nul_is_refused_and_counted() {
    let (mut alice, mut bob) = (from_json("alice", "{}"), from_json("bob", "{}"));
    let host = Recorder::default();
    let (message_id, channel) = ("m1".into(), ChannelId::from(&b"ch\0other"[..]));
    let (content, kind) = (Bytes::from("hello").into(), Wrapping::Content(Form::Binary));
    let wrapping = Request::Wrap { message_id, channel, content, kind };
    let datagram = Bytes::from(ask(&mut bob, at(0), wrapping, &host).unwrap());
    for form in [Form::Text, Form::Binary] {
        let unwrap = Request::Unwrap { datagram: datagram.clone().into(), form };
        let failure = ask(&mut alice, at(0), unwrap, &host).unwrap_err();
        assert_eq!(failure, Reason::NulInChannelId.into());
    }
    assert!(alice.node.channels().next().is_none());
    let metrics = json(&ask(&mut alice, at(0), Request::Metrics, &host).unwrap());
    assert_eq!((&metrics["refused"], &metrics["refusedNul"]), (&2.into(), &2.into()));
}

#[test]
fn nobody_is_asked_for_a_hint_by_half_an_id() {
    struct Asked(RefCell<Vec<MessageId>>);
    impl Host for Asked {
        fn event(&self, _: Vec<u8>) {}
        fn hint(&self, message_id: &MessageId) -> Option<Bytes> {
            self.0.borrow_mut().push(message_id.clone());
            None
        }
        fn outgoing(&self, _: &ChannelId, _: SendReason, _: &[u8]) {}
    }
    let (mut alice, host) = (from_json("alice", "{}"), Asked(RefCell::default()));
    for id in ["m1\0tail", "m2", "m3"] {
        let wrapping = wrapping(id, Wrapping::Content(Form::Binary));
        alice.carry_out(at(0), wrapping, &host, &mut Vec::new()).unwrap();
    }
    assert_eq!(*host.0.borrow(), ["m2".into()]);
}

#[test]
fn what_is_too_long_is_refused_with_its_length() {
    let host = Recorder::default();
    let mut alice = from_json("alice", r#"{"dialect":"lip109"}"#);
    let too_many = || Passed::TooMany { len: 2_000_000, limit: 1 << 20 };
    let reason = RejectReason::ContentTooLong { len: 2_000_000, limit: 1 << 20 };
    for kind in [Wrapping::Content(Form::Binary), Wrapping::Ephemeral] {
        let (message_id, channel) = ("m1".into(), "ch".into());
        let wrapping = Request::Wrap { message_id, channel, content: too_many(), kind };
        assert_eq!(ask(&mut alice, at(0), wrapping, &host), Err(reason.into()));
    }
    let unwrap = Request::Unwrap { datagram: too_many(), form: Form::Binary };
    assert_eq!(ask(&mut alice, at(0), unwrap, &host), Err(reason.into()));
}

#[test]
fn a_message_of_another_with_our_id_is_told_once_a_channel() {
    let (mut alice, mut other) = (from_json("alice", "{}"), from_json("alice", "{}"));
    let host = Recorder::default();
    let said = ["m1", "m2"].map(|id| wrap(&mut other, id, &host).unwrap());
    for datagram in &said {
        unwrap(&mut alice, at(1), datagram, &host);
    }
    let told = host.told();
    let told: Vec<_> = told.iter().filter(|event| event.contains("in_use")).collect();
    let wanted = r#"{"messageId":"m1","channelId":"ch","eventType":"participant_id_in_use","lamport":1767225600000}"#;
    assert_eq!(told, [wanted]);

    let mut nim = Worker::new(Settings::of_nim_sds().unwrap());
    unwrap(&mut nim, at(1), &said[0], &host);
    assert!(!host.told().iter().any(|event| event.contains("in_use")));
}

#[test]
fn a_clock_that_is_off_by_what_others_say_is_told_once() {
    const DAYS: u64 = 2 * 24 * 3_600;
    let (mut alice, mut bob) = (from_json("alice", "{}"), from_json("bob", "{}"));
    let host = Recorder::default();
    for minute in 0..30 {
        let kind = Wrapping::Content(Form::Binary);
        let now = at(DAYS + minute * 60);
        let said = ask(&mut bob, now, wrapping(&format!("b{minute}"), kind), &host).unwrap();
        let request = Request::Unwrap { datagram: Bytes::from(said).into(), form: Form::Binary };
        assert!(ask(&mut alice, at(minute * 60), request, &host).is_err(), "it is days ahead");
    }
    let told = host.told();
    let told: Vec<_> = told.iter().filter(|event| event.contains("wall_clock_off")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let told = json(told[0].as_bytes());
    let apart = told["theirs"].as_u64().unwrap() - told["ours"].as_u64().unwrap();
    assert_eq!(apart, DAYS * 1_000);
}

#[test]
fn a_store_of_another_id_is_taken_over_only_if_asked_for() {
    for wraps in [true, false] {
        let (records, host) = (Memory::default(), Recorder::default());
        let (mut alice, _) = with_store(&records);
        let said = wrap(&mut alice, "m1", &host).unwrap();
        drop(alice);
        let life = |adopts| {
            let mut settings = Settings::from_json("bob".into(), b"{}").unwrap();
            let config = settings.config.to_builder().durability(Durability::Strict);
            settings.config = config.adopt_store(adopts).build().unwrap();
            settings.storage = Some(Storage::start(records.clone(), Durability::Strict).unwrap());
            let mut bob = Worker::new(settings);
            if wraps {
                return wrap(&mut bob, "b1", &host);
            }
            let datagram = Bytes::from(said.clone()).into();
            ask(&mut bob, at(0), Request::Unwrap { datagram, form: Form::Binary }, &host)
        };
        let refused = life(false).unwrap_err();
        let reason = rejected(RejectReason::LoadFailed(StoreError::OtherParticipant));
        assert_eq!((refused.code, refused.reason), (Code::PersistenceError, reason));
        assert!(life(true).is_ok());
    }
}
