//! Identifiers: byte strings that are cheap to clone and to compare.

use core::borrow::Borrow;
use core::fmt;

use bytes::Bytes;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A byte string, compared as bytes. Cloning counts a reference and copies nothing.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(Bytes);

        impl $name {
            /// The id with these bytes; takes them over without a copy.
            #[must_use]
            pub const fn new(bytes: Bytes) -> Self {
                Self(bytes)
            }

            /// The id with these bytes, without allocation.
            #[must_use]
            pub const fn from_static(text: &'static str) -> Self {
                Self(Bytes::from_static(text.as_bytes()))
            }

            /// The bytes of the id.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The id, borrowed.
            #[must_use]
            pub fn borrowed(&self) -> IdRef<'_> {
                IdRef(&self.0)
            }

            /// The bytes of the id as the buffer they live in; a clone of it copies nothing.
            #[must_use]
            pub const fn bytes(&self) -> &Bytes {
                &self.0
            }

            /// Length in bytes.
            #[must_use]
            pub const fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether the id has no bytes.
            #[must_use]
            pub const fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The id as text, if it is UTF-8.
            #[must_use]
            pub fn as_str(&self) -> Option<&str> {
                core::str::from_utf8(&self.0).ok()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Bytes::copy_from_slice(text.as_bytes()))
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(Bytes::copy_from_slice(bytes))
            }
        }

        impl From<Bytes> for $name {
            fn from(bytes: Bytes) -> Self {
                Self(bytes)
            }
        }

        impl From<alloc::string::String> for $name {
            fn from(text: alloc::string::String) -> Self {
                Self(Bytes::from(text))
            }
        }

        /// Copies the bytes.
        impl From<IdRef<'_>> for $name {
            fn from(id: IdRef<'_>) -> Self {
                Self::from(id.0)
            }
        }

        impl PartialEq<$name> for IdRef<'_> {
            fn eq(&self, other: &$name) -> bool {
                *self == other.borrowed()
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        /// The text, or the bytes in hexadecimal behind `0x` where they are not UTF-8.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.borrowed().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }
    };
}

/// An id that is part of something else, of a log entry or a datagram.
///
/// `into()` makes a [`MessageId`], [`ChannelId`] or [`ParticipantId`] of it, by a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IdRef<'a>(&'a [u8]);

impl<'a> IdRef<'a> {
    /// The id with these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether the id has no bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The id as text, if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }
}

impl<'a> From<&'a str> for IdRef<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl PartialEq<str> for IdRef<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl AsRef<[u8]> for IdRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

/// The text, or the bytes in hexadecimal behind `0x` where they are not UTF-8.
impl fmt::Display for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.as_str() {
            return f.pad(text);
        }
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdRef(b\"{}\")", self.0.escape_ascii())
    }
}

id! {
    /// Names one message in its channel for ever; chosen by the sender's application, never empty.
    ///
    /// A random 128-bit or longer value (as hexadecimal text where `@waku/sds` is in the group) is
    /// a good one.
    MessageId
}

id! {
    /// Names one log. Never empty.
    ChannelId
}

id! {
    /// Names one group member, unique in the group.
    ///
    /// It may be empty: an empty id is never "ours", and all members with an empty id count as
    /// one anonymous sender.
    ParticipantId
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn prints_text_as_text_and_other_bytes_as_hex() {
        assert_eq!(format!("{}", MessageId::from("m1")), "m1");
        assert_eq!(format!("{:>4}", MessageId::from("m1")), "  m1");
        assert_eq!(format!("{}", MessageId::from(&[0xff, 0x01][..])), "0xff01");
    }

    #[test]
    fn orders_by_bytes() {
        assert!(MessageId::from("B") < MessageId::from("a"));
        assert!(MessageId::from("a") < MessageId::from("aa"));
    }
}
