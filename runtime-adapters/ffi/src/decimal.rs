//! Bytes as decimal numbers between commas, which is how wrapped messages are told in text.

/// The digits of each byte with a comma behind them, and how many characters that is.
static NUMBERS: [([u8; 4], u8); 256] = numbers();

/// Appends `10,2,109` for the bytes 10, 2 and 109.
pub(crate) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // The longest number and its comma for each, so that each is one copy of four bytes.
    out.resize(start + 4 * bytes.len(), 0);
    let mut at = start;
    for byte in bytes {
        let (digits, len) = NUMBERS[usize::from(*byte)];
        out[at..at + 4].copy_from_slice(&digits);
        at += usize::from(len);
    }
    // Without the last comma.
    out.truncate(at.saturating_sub(1).max(start));
}

const fn numbers() -> [([u8; 4], u8); 256] {
    let mut numbers = [([b','; 4], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let (digits, len) = &mut numbers[byte];
        *len = if byte >= 100 {
            4
        } else if byte >= 10 {
            3
        } else {
            2
        };
        let (mut rest, mut at) = (byte, *len as usize - 1);
        while at > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        byte += 1;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_as_rust_writes_it() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = b"[".to_vec();
        write(&bytes, &mut out);
        let wanted: Vec<_> = bytes.iter().map(u8::to_string).collect();
        assert_eq!(String::from_utf8(out), Ok(format!("[{}", wanted.join(","))));
    }

    #[test]
    fn no_bytes_are_nothing() {
        let mut out = b"[".to_vec();
        write(&[], &mut out);
        assert_eq!(out, b"[");
    }
}
