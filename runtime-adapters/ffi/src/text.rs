//! Bytes as C wants them.

/// Bytes with a NUL behind them that does not count.
///
/// Their content may contain NULs, which callers that use the length see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    pub(crate) fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Bytes of memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The bytes and the NUL.
    pub(crate) fn with_nul(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0[..self.len()]).expect("text")
    }
}

impl From<Vec<u8>> for Text {
    fn from(mut bytes: Vec<u8>) -> Self {
        bytes.reserve_exact(1);
        bytes.push(0);
        // It is kept for a while, and what grew by doubling may be half empty.
        if bytes.capacity() > bytes.len() + bytes.len() / 4 {
            bytes.shrink_to_fit();
        }
        Self(bytes)
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        let mut copy = Vec::with_capacity(bytes.len() + 1);
        copy.extend_from_slice(bytes);
        copy.into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}
