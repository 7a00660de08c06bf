//! The verdict on a group, from its files alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sds_proto::LogDigest;

use crate::profile::name;
use crate::record::{
    self, DELIVERED, Delivered, Figure, LOG, Logged, PUBLISHED, Published, SUMMARY,
};
use crate::seal::{self, Unreadable};

/// Number of missing ids that are listed.
const NAMED_IDS: usize = 3;

/// Result of a group.
pub(crate) struct Verdict {
    pub(crate) participants: Vec<Judged>,
    /// Expected number of messages.
    pub(crate) messages: usize,
}

/// Result of one participant.
pub(crate) struct Judged {
    pub(crate) name: String,
    /// Messages that it delivered, in all its lives.
    pub(crate) delivered: usize,
    /// Number of redeliveries after it was killed.
    pub(crate) again: usize,
    /// Number of times it was killed.
    pub(crate) crashes: usize,
    /// Of the log as it is in the file.
    pub(crate) digest: Option<LogDigest>,
    pub(crate) figures: BTreeMap<String, String>,
    /// Empty: it converged.
    pub(crate) problems: Vec<String>,
}

impl Verdict {
    pub(crate) fn converged(&self) -> usize {
        self.participants.iter().filter(|judged| judged.problems.is_empty()).count()
    }
}

/// Judges the group whose files are in `dir`.
pub(crate) fn judge(dir: &Path) -> Result<Verdict, Unreadable> {
    let group = figures(&dir.join(record::GROUP))?;
    let count = |figure: &str| group.get(figure).and_then(|value| value.parse::<usize>().ok());
    let (Some(participants), Some(each)) = (count("participants"), count("messages")) else {
        return Err(Unreadable::new(
            &dir.join(record::GROUP),
            "does not say how large the group is",
        ));
    };
    let crashes: Vec<Figure> = seal::read(&dir.join(record::CRASHES))?;
    let crashes = |name: &str| crashes.iter().filter(|crash| crash.name == name).count();
    let read = |name: String| Files::read(&dir.join(&name), crashes(&name));
    let mut files: Vec<_> = (0..participants).map(|index| read(name(index))).collect();
    if group.contains_key(record::ANONYMOUS) {
        attribute(&mut files);
    }
    let group = Group::new(&files, each);
    let judged = files.iter().enumerate().map(|(index, files)| group.judge(name(index), files));
    Ok(Verdict { participants: judged.collect(), messages: participants * each })
}

/// Takes those who published messages for their senders where these are not known.
fn attribute(files: &mut [Result<Files, Unreadable>]) {
    let mut authors = BTreeMap::new();
    for (index, files) in files.iter().enumerate() {
        let published = files.iter().flat_map(|files| &files.published);
        authors.extend(published.map(|message| (message.message_id.clone(), name(index))));
    }
    for files in files.iter_mut().flatten() {
        let delivered = files.delivered.iter_mut().map(|delivered| &mut delivered.logged);
        for logged in delivered.chain(&mut files.log).filter(|logged| logged.sender.is_empty()) {
            logged.sender = authors.get(&logged.message_id).cloned().unwrap_or_default();
        }
    }
}

fn figures(path: &Path) -> Result<BTreeMap<String, String>, Unreadable> {
    let figures: Vec<Figure> = seal::read(path)?;
    Ok(figures.into_iter().map(|figure| (figure.name, figure.value)).collect())
}

/// The files of one participant.
struct Files {
    published: Vec<Published>,
    delivered: Vec<Delivered>,
    log: Vec<Logged>,
    figures: BTreeMap<String, String>,
    /// Number of times it was killed.
    crashes: usize,
}

impl Files {
    fn read(dir: &Path, crashes: usize) -> Result<Self, Unreadable> {
        Ok(Self {
            published: seal::read(&dir.join(PUBLISHED))?,
            delivered: seal::read(&dir.join(DELIVERED))?,
            log: seal::read(&dir.join(LOG))?,
            figures: figures(&dir.join(SUMMARY))?,
            crashes,
        })
    }

    fn digest(&self) -> LogDigest {
        let mut digest = LogDigest::default();
        for entry in &self.log {
            digest.add(entry.lamport, &entry.message_id);
        }
        digest
    }
}

/// The facts on which all participants should agree.
struct Group<'a> {
    /// By message id: the author, and the contents that it handed to its node: more than one if
    /// it was killed in between.
    published: BTreeMap<&'a str, (String, Vec<&'a str>)>,
    /// By message id: what the first to deliver it says of it.
    seen: BTreeMap<&'a str, &'a Logged>,
    /// By author and Lamport time: the message's id, as the first to deliver it says.
    times: BTreeMap<(&'a str, u64), &'a str>,
    /// The log that most of them have.
    log: &'a [Logged],
    /// By message id: the causal history, as the first to deliver it says.
    histories: BTreeMap<&'a str, &'a [String]>,
    /// Messages that each publishes.
    each: usize,
    /// Whether every participant's files could be read.
    complete: bool,
}

impl<'a> Group<'a> {
    fn new(files: &'a [Result<Files, Unreadable>], each: usize) -> Self {
        let mut published = BTreeMap::<_, (_, Vec<_>)>::new();
        let (mut seen, mut times) = (BTreeMap::new(), BTreeMap::new());
        let mut histories = BTreeMap::new();
        let mut logs: Vec<(&[Logged], usize)> = Vec::new();
        for (index, files) in files.iter().enumerate() {
            let Ok(files) = files else {
                continue;
            };
            for message in &files.published {
                let attempts = published.entry(message.message_id.as_str());
                let (_, contents) = attempts.or_insert_with(|| (name(index), Vec::new()));
                contents.push(message.content.as_str());
            }
            for delivered in &files.delivered {
                let logged = &delivered.logged;
                let id = logged.message_id.as_str();
                seen.entry(id).or_insert(logged);
                times.entry((logged.sender.as_str(), logged.lamport)).or_insert(id);
                histories.entry(id).or_insert(delivered.history.as_slice());
            }
            match logs.iter_mut().find(|(log, _)| *log == files.log) {
                Some((_, shared_by)) => *shared_by += 1,
                None => logs.push((&files.log, 1)),
            }
        }
        // The longer one of two that are equally common: the shorter one lacks something.
        let log = logs.into_iter().max_by_key(|(log, shared_by)| (*shared_by, log.len()));
        let log = log.map_or(&[][..], |(log, _)| log);
        let complete = files.iter().all(Result::is_ok);
        Self { published, seen, times, log, histories, each, complete }
    }

    fn judge(&self, name: String, files: &Result<Files, Unreadable>) -> Judged {
        let files = match files {
            Ok(files) => files,
            Err(error) => {
                let (figures, problems) = (BTreeMap::new(), vec![error.in_brief()]);
                let (delivered, again, crashes, digest) = (0, 0, 0, None);
                return Judged { name, delivered, again, crashes, digest, figures, problems };
            }
        };
        let findings = [
            self.publishing(files),
            self.missing(files).or_else(|| self.log_agreement(files)),
            self.log_order(files),
            self.log_content(files),
            deliveries(files),
            self.reuse(files),
            self.causality(files),
            digest(files),
        ];
        let again = files.delivered.iter().filter(|delivered| delivered.again).count();
        let ids = files.delivered.iter().map(|delivered| &delivered.logged.message_id);
        Judged {
            name,
            delivered: ids.collect::<BTreeSet<_>>().len(),
            again,
            crashes: files.crashes,
            digest: Some(files.digest()),
            figures: files.figures.clone(),
            problems: findings.into_iter().flatten().collect(),
        }
    }

    fn publishing(&self, files: &Files) -> Option<String> {
        let ids: BTreeSet<_> = files.published.iter().map(|message| &message.message_id).collect();
        let (count, each) = (ids.len(), self.each);
        if count != each {
            return Some(format!("published {count} messages of {each}"));
        }
        let twice = files.published.len() > count && files.crashes == 0;
        twice.then(|| "published an id twice and was never killed".into())
    }

    /// Every published message is in the log.
    fn missing(&self, files: &Files) -> Option<String> {
        let logged: BTreeSet<_> = files.log.iter().map(|entry| entry.message_id.as_str()).collect();
        let missing: Vec<_> =
            self.published.keys().copied().filter(|id| !logged.contains(id)).collect();
        let count = missing.len();
        let more = if count > NAMED_IDS { ", …" } else { "" };
        let named = missing.get(..NAMED_IDS.min(count))?.join(", ");
        (count > 0).then(|| format!("lacks {count} messages ({named}{more})"))
    }

    /// The log is in order, and so holds nothing twice.
    fn log_order(&self, files: &Files) -> Option<String> {
        let pair = files.log.windows(2).find(|pair| pair[0].key() >= pair[1].key())?;
        Some(format!("logs {} before {}", pair[0].message_id, pair[1].message_id))
    }

    /// The log holds what was published, by whom it was published.
    fn log_content(&self, files: &Files) -> Option<String> {
        files.log.iter().find_map(|entry| {
            let id = entry.message_id.as_str();
            match self.published.get(id) {
                Some((author, _)) if *author != entry.sender => {
                    Some(format!("logs {id} as of {}, not {author}", entry.sender))
                }
                Some((_, contents)) if !contents.contains(&entry.content.as_str()) => {
                    Some(format!("logs {id} with another content than was published"))
                }
                Some(_) => None,
                None => self.complete.then(|| format!("logs {id}, which nobody published")),
            }
        })
    }

    /// Logs are equal entry by entry.
    fn log_agreement(&self, files: &Files) -> Option<String> {
        let differs = files.log.iter().zip(self.log).position(|(ours, theirs)| ours != theirs);
        let at = differs.or_else(|| {
            let shorter = files.log.len().min(self.log.len());
            (files.log.len() != self.log.len()).then_some(shorter)
        })?;
        Some(format!("its log differs from that of most at entry {at}"))
    }

    /// Nobody gave two messages one id, or one Lamport time.
    fn reuse(&self, files: &Files) -> Option<String> {
        files.delivered.iter().map(|delivered| &delivered.logged).find_map(|logged| {
            let (id, time) = (logged.message_id.as_str(), (logged.sender.as_str(), logged.lamport));
            if self.seen.get(id) != Some(&logged) {
                return Some(format!("delivered {id} otherwise than others"));
            }
            let other = self.times.get(&time).filter(|other| **other != id)?;
            Some(format!("delivered {id} with the Lamport time of {other}"))
        })
    }

    /// Each delivery comes after all that it depends on.
    fn causality(&self, files: &Files) -> Option<String> {
        let mut before = BTreeSet::new();
        for delivered in &files.delivered {
            let id = delivered.logged.message_id.as_str();
            if let Some(missing) = delivered.history.iter().find(|id| !before.contains(id.as_str()))
            {
                return Some(format!("delivered {id} before {missing}, which it depends on"));
            }
            if self.histories.get(id) != Some(&delivered.history.as_slice()) {
                return Some(format!("delivered {id} with another causal history than others"));
            }
            before.insert(id);
        }
        None
    }
}

/// Checks that the deliveries of all lives are the log, without a gap, and once, unless marked.
fn deliveries(files: &Files) -> Option<String> {
    let log: BTreeMap<_, _> = files.log.iter().map(|entry| (&entry.message_id, entry)).collect();
    let mut seen = BTreeSet::new();
    for delivered in &files.delivered {
        let id = &delivered.logged.message_id;
        if !seen.insert(id) && !delivered.again {
            return Some(format!("delivered {id} twice"));
        }
        if delivered.again && files.crashes == 0 {
            return Some(format!("delivered {id} again and was never killed"));
        }
        if delivered.gap {
            return Some(format!("delivered {id} with a gap before it"));
        }
        if log.get(id) != Some(&&delivered.logged) {
            return Some(format!("delivered {id} otherwise than it is in its log"));
        }
    }
    (seen.len() != log.len())
        .then(|| format!("logs {} messages, of which {} were delivered", log.len(), seen.len()))
}

/// The log has the digest that the node says it has.
fn digest(files: &Files) -> Option<String> {
    let (said, is) = (files.figures.get("digest"), files.digest().to_string());
    (said != Some(&is)).then(|| format!("its log's digest is {is}, not as its node says"))
}
