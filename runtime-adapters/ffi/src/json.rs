//! The JSON of the events and of unwrapped messages.
//!
//! It must be nim-sds's to the byte where that is JSON, and tell ids that are not UTF-8 so that
//! they can be named again, which no JSON writer of Rust's does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sds_proto::ChannelId;
use sds_proto::wire::HistoryEntry;

use crate::decimal;

/// An object of which only the keys that were written are there, in that order.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// A text whose characters need no escape.
    pub(crate) fn plain(mut self, key: &str, text: &str) -> Self {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        self
    }

    /// A text of any characters.
    pub(crate) fn text(mut self, key: &str, text: impl AsRef<[u8]>) -> Self {
        self.key(key);
        string(text.as_ref(), self.out);
        self
    }

    pub(crate) fn message_id(self, id: impl AsRef<[u8]>) -> Self {
        self.text("messageId", id)
    }

    pub(crate) fn channel_id(self, id: &ChannelId) -> Self {
        self.text("channelId", id.as_bytes())
    }

    pub(crate) fn bytes(mut self, key: &str, bytes: &[u8]) -> Self {
        self.key(key);
        self.out.push(b'[');
        decimal::write(bytes, self.out);
        self.out.push(b']');
        self
    }

    pub(crate) fn base64(mut self, key: &str, bytes: &[u8]) -> Self {
        self.key(key);
        base64(bytes, self.out);
        self
    }

    pub(crate) fn missing(self, missing: &[HistoryEntry]) -> Self {
        self.list("missingDeps", missing, |out, named| {
            let hint = named.retrieval_hint.as_deref().unwrap_or_default();
            Object::begin(out).message_id(&named.message_id).base64("retrievalHint", hint).end();
        })
    }

    /// A list of what `write` writes of each item.
    pub(crate) fn list<T>(
        mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) -> Self {
        self.key(key);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(self.out, item);
        }
        self.out.push(b']');
        self
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    /// Something that writes itself as JSON, like a number.
    pub(crate) fn value(mut self, key: &str, value: impl core::fmt::Display) -> Self {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
        self
    }

    fn key(&mut self, key: &str) {
        if !core::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Escapes what nim-sds escapes, as it does: `\u000b` in lower case and all others in upper case.
/// Bytes that are no UTF-8 are lone surrogates, `\uDC80` to `\uDCFF`, which no UTF-8 has: so they
/// can be told from all texts, and from each other.
pub(crate) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        text(chunk.valid(), out);
        for byte in chunk.invalid() {
            out.extend_from_slice(b"\\uDC");
            out.extend(hex(*byte));
        }
    }
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

fn text(text: &str, out: &mut Vec<u8>) {
    for byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0b => out.extend_from_slice(b"\\u000b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend(hex(*byte));
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_nim_sds() {
        let mut out = Vec::new();
        string("a\"\\\x08\t\n\x0b\x0c\r\x00\x1f/\x7fé".as_bytes(), &mut out);
        let wanted = "\"a\\\"\\\\\\b\\t\\n\\u000b\\f\\r\\u0000\\u001F/\x7fé\"";
        assert_eq!(out, wanted.as_bytes());
    }

    #[test]
    fn any_bytes_are_json_that_says_which() {
        let mut out = Vec::new();
        string(b"\x80\xc3\xff\xe2\x82x\xc3\xa9\xed\xb2\x80\xf0\x9f\x92\xa9", &mut out);
        let wanted = r#""\uDC80\uDCC3\uDCFF\uDCE2\uDC82xé\uDCED\uDCB2\uDC80💩""#;
        assert_eq!(String::from_utf8(out).as_deref(), Ok(wanted));
    }

    #[test]
    fn keys_come_in_the_order_written() {
        let named = |id: &str, hint: Option<&'static str>| {
            let mut named = HistoryEntry::default();
            named.message_id = id.into();
            named.retrieval_hint = hint.map(Into::into);
            named
        };
        let mut out = Vec::new();
        Object::begin(&mut out)
            .bytes("message", b"hello")
            .channel_id(&"ch".into())
            .missing(&[named("e1", Some("hint-for-h1")), named("e2", None)])
            .end();
        let wanted = r#"{"message":[104,101,108,108,111],"channelId":"ch","missingDeps":[{"messageId":"e1","retrievalHint":"aGludC1mb3ItaDE="},{"messageId":"e2","retrievalHint":""}]}"#;
        assert_eq!(String::from_utf8(out).as_deref(), Ok(wanted));
    }
}
