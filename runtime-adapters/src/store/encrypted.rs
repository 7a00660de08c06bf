//! Sealed records in front of another store.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sds_proto::stored::{Op, Write};
use sds_proto::{ChannelId, Durability, StoreError};
use zeroize::Zeroizing;

use super::{Record, Store, StoreFuture};

/// The first byte of a sealed value, which the nonce and the ciphertext follow.
const VERSION: u8 = 1;
const NONCE_LEN: usize = size_of::<XNonce>();
/// Bytes by which a value grows: version, nonce, and the tag of 16.
const GROWTH: u64 = 1 + NONCE_LEN as u64 + 16;

/// Seals the value of each record on its way to another store.
///
/// ```
/// use sds_runtime::store::{Encrypted, EncryptionKey, Memory};
///
/// let key = EncryptionKey::from([42; 32]); // from wherever the application keeps its secrets
/// let store = Encrypted::new(Memory::default(), key);
/// ```
///
/// The cipher is XChaCha20-Poly1305 with a random nonce for each record, made by the operating
/// system; channel and key of the record are authenticated with it. A value that was changed, that
/// belongs to another record or channel, or that was sealed under another key is
/// [`StoreError::Corrupt`], and nothing of the channel is loaded. A value grows by 41 bytes.
///
/// # What it does not hide
///
/// Channel ids; keys of records, which hold message ids of messages that wait and numbers of all
/// others, and tell what kind each is; how long values are, how many there are, and when they
/// change.
///
/// # What it does not notice
///
/// An attacker with write access can restore an older value of the same record, or a whole older
/// store, and can remove records, because values are independent. Records that then contradict each
/// other are refused when they are loaded; consistent ones are accepted.
#[derive(Debug)]
pub struct Encrypted<S> {
    inner: S,
    cipher: Arc<Cipher>,
}

impl<S> Encrypted<S> {
    /// Seals what goes to `inner`, and opens what comes from it, with `key`: always the same for
    /// the same store. That it is another one is noticed when a channel is loaded.
    #[must_use]
    pub fn new(inner: S, key: EncryptionKey) -> Self {
        let cipher = Cipher(XChaCha20Poly1305::new((&*key.0).into()));
        Self { inner, cipher: Arc::new(cipher) }
    }
}

impl<S: Store> Store for Encrypted<S> {
    fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.inner.start(durability)
    }

    fn max_record_len(&self) -> u64 {
        self.inner.max_record_len().saturating_sub(GROWTH)
    }

    fn write(&mut self, mut batch: Vec<Write>) -> StoreFuture<()> {
        for Write { channel, op } in &mut batch {
            if let Op::Put { key, value } = op {
                match self.cipher.seal(channel, key, value) {
                    Ok(sealed) => *value = sealed,
                    Err(error) => return Box::pin(core::future::ready(Err(error))),
                }
            }
        }
        self.inner.write(batch)
    }

    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
        let (loaded, cipher, channel) =
            (self.inner.load(channel), Arc::clone(&self.cipher), channel.clone());
        Box::pin(async move {
            let mut records = loaded.await?;
            for Record { key, value } in &mut records {
                *value = cipher.open(&channel, key, value)?;
            }
            Ok(records)
        })
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        self.inner.channels()
    }
}

/// The secret that records are sealed with. Wiped from memory when it is dropped.
///
/// It should be random; a password is none before a function made for passwords has been applied.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl From<[u8; 32]> for EncryptionKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").finish_non_exhaustive()
    }
}

/// Wipes its key as well.
struct Cipher(XChaCha20Poly1305);

impl Cipher {
    fn seal(&self, channel: &ChannelId, key: &[u8], value: &[u8]) -> Result<Bytes, StoreError> {
        let nonce = XNonce::try_generate().map_err(|_| StoreError::Unavailable)?;
        let payload = Payload { msg: value, aad: &place(channel, key) };
        // Fails beyond 256 GB.
        let sealed = self.0.encrypt(&nonce, payload).map_err(|_| StoreError::Full)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat().into())
    }

    fn open(&self, channel: &ChannelId, key: &[u8], value: &[u8]) -> Result<Bytes, StoreError> {
        let [VERSION, value @ ..] = value else {
            return Err(StoreError::Corrupt);
        };
        let (nonce, sealed) = value.split_first_chunk::<NONCE_LEN>().ok_or(StoreError::Corrupt)?;
        let payload = Payload { msg: sealed, aad: &place(channel, key) };
        let opened = self.0.decrypt(nonce.into(), payload).map_err(|_| StoreError::Corrupt)?;
        Ok(opened.into())
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

/// Returns the associated data of a value.
fn place(channel: &ChannelId, key: &[u8]) -> Vec<u8> {
    let channel_len = (channel.len() as u64).to_be_bytes();
    [&[VERSION][..], &channel_len, channel.as_bytes(), key].concat()
}

#[cfg(test)]
mod tests {
    use sds_proto::snapshot::{Change, ChangeKind};
    use sds_proto::stored;

    use super::*;
    use crate::store::Memory;
    use crate::wait::Wait;

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey::from([byte; 32])
    }

    fn hint(channel: &str, seq: u64, hint: &'static [u8]) -> Vec<Write> {
        let kind = ChangeKind::Hint { seq: sds_proto::DeliverySeq(seq), hint: hint.into() };
        stored::writes(&[Change { channel: channel.into(), kind }])
    }

    fn records(store: &mut impl Store, channel: &str) -> Result<Vec<Record>, StoreError> {
        let mut records = store.load(&channel.into()).wait()?;
        records.sort();
        Ok(records)
    }

    /// Two records of one channel and one of another, open and sealed.
    fn filled() -> (Vec<Record>, Memory) {
        let (mut open, sealed) = (Memory::default(), Memory::default());
        let mut encrypted = Encrypted::new(sealed.clone(), key(1));
        for batch in
            [hint("a", 1, b"the first hint"), hint("a", 2, b"the 2nd hint"), hint("b", 1, b"b")]
        {
            open.write(batch.clone()).wait().unwrap();
            encrypted.write(batch).wait().unwrap();
        }
        (records(&mut open, "a").unwrap(), sealed)
    }

    /// A store with these records of channel `a`.
    fn holding(records: &[Record]) -> impl Store {
        #[derive(Debug)]
        struct Holding(Vec<Record>);
        impl Store for Holding {
            fn write(&mut self, _: Vec<Write>) -> StoreFuture<()> {
                unreachable!("nothing is written")
            }
            fn load(&mut self, _: &ChannelId) -> StoreFuture<Vec<Record>> {
                Box::pin(core::future::ready(Ok(self.0.clone())))
            }
            fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
                unreachable!("nobody asks")
            }
        }
        Encrypted::new(Holding(records.to_vec()), key(1))
    }

    #[test]
    fn records_may_be_shorter_by_as_much_as_sealing_adds() {
        let most = Memory::default().max_record_len();
        assert_eq!(Encrypted::new(Memory::default(), key(1)).max_record_len(), most - 41);
    }

    #[test]
    fn what_is_sealed_is_not_there_in_the_open_and_comes_back() {
        let (open, mut sealed) = filled();
        let kept = records(&mut sealed, "a").unwrap();
        for (open, kept) in open.iter().zip(&kept) {
            assert_eq!(open.key, kept.key);
            assert_eq!(open.value.len() + 41, kept.value.len());
            assert!(!kept.value.windows(4).any(|window| window == b"hint"));
        }
        assert_eq!(records(&mut Encrypted::new(sealed, key(1)), "a"), Ok(open));
    }

    #[test]
    fn removals_reach_the_store() {
        let (_, mut sealed) = filled();
        let erased = Change { channel: "a".into(), kind: ChangeKind::Erased };
        let mut encrypted = Encrypted::new(sealed.clone(), key(1));
        encrypted.write(stored::writes(&[erased])).wait().unwrap();
        assert_eq!(records(&mut sealed, "a"), Ok(Vec::new()));
        assert_eq!(records(&mut encrypted, "b").unwrap().len(), 1);
    }

    #[test]
    fn the_same_value_is_never_sealed_the_same_way() {
        let (_, mut sealed) = filled();
        let before = records(&mut sealed, "a").unwrap();
        let again = hint("a", 1, b"the first hint");
        Encrypted::new(sealed.clone(), key(1)).write(again).wait().unwrap();
        let after = records(&mut sealed, "a").unwrap();
        assert_ne!(before[0].value, after[0].value);
        assert_eq!(before[1], after[1]);
    }

    #[test]
    fn the_wrong_key_is_an_error() {
        let (_, sealed) = filled();
        assert_eq!(records(&mut Encrypted::new(sealed, key(2)), "a"), Err(StoreError::Corrupt));
    }

    #[test]
    fn every_changed_bit_and_every_truncation_is_an_error() {
        let (open, mut sealed) = filled();
        let sound = records(&mut sealed, "a").unwrap();
        assert_eq!(records(&mut holding(&sound), "a"), Ok(open));
        let value = &sound[0].value;
        let flips = (0..value.len() * 8).map(|bit| {
            let mut changed = value.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let cuts = (0..value.len()).map(|len| value[..len].to_vec());
        for changed in flips.chain(cuts) {
            let mut damaged = sound.clone();
            damaged[0].value = changed.into();
            assert_eq!(records(&mut holding(&damaged), "a"), Err(StoreError::Corrupt));
        }
    }

    #[test]
    fn a_value_under_another_key_or_in_another_channel_is_an_error() {
        let (_, mut sealed) = filled();
        let sound = records(&mut sealed, "a").unwrap();
        let swapped: Vec<_> = [(0, 1), (1, 0)]
            .map(|(key, value)| Record {
                key: sound[key].key.clone(),
                value: sound[value].value.clone(),
            })
            .into();
        assert_eq!(records(&mut holding(&swapped), "a"), Err(StoreError::Corrupt));
        assert_eq!(records(&mut holding(&sound), "b"), Err(StoreError::Corrupt));
        // The boundary between channel and key is part of it.
        let shifted = Record {
            key: [b"a", &sound[0].key[..]].concat().into(),
            value: sound[0].value.clone(),
        };
        assert_eq!(records(&mut holding(&[shifted]), ""), Err(StoreError::Corrupt));
    }

    /// Made with libsodium.
    #[test]
    fn what_another_implementation_sealed_is_opened() {
        let sealed = [
            "01404142434445464748494a4b4c4d4e4f5051525354555657", // version, nonce
            "b5197311bc951ccd1a8360a0b873ac0145a2b7ef77560d",
        ]
        .concat();
        let byte = |at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap();
        let sealed: Vec<u8> = (0..sealed.len()).step_by(2).map(byte).collect();
        let secret = EncryptionKey::from(core::array::from_fn(|at| at as u8));
        let cipher = Encrypted::new(Memory::default(), secret).cipher;
        let opened = cipher.open(&"general".into(), b"\x20\0\0\0\0\0\0\0\x01", &sealed);
        assert_eq!(opened, Ok("a value".into()));
    }

    #[test]
    fn nothing_shows_the_key() {
        let store = Encrypted::new(Memory::default(), key(0xab));
        for shown in [format!("{:?}", key(0xab)), format!("{store:?}")] {
            assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
        }
    }
}
