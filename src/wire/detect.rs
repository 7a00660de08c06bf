//! Telling the dialects apart, and routing before decoding.

use super::error::DecodeError;
use super::reader::{Fields, Value, bytes_tag, number_tag};
use super::values::id_bytes;
use super::{WireDialect, lip109, nim};

/// The field that both dialects always send: message id in LIP-109, Lamport time in nim-sds.
const TELLTALE: u32 = 2;
const LIP109: u64 = bytes_tag(TELLTALE);
const NIM_SDS: u64 = number_tag(TELLTALE);
/// The field before it: the message id in nim-sds, the sender id in LIP-109.
const FIRST: u64 = bytes_tag(1);

/// Which dialect a message is in, by the wire type of its first field 2.
///
/// Reads no further than that field's tag.
///
/// # Errors
///
/// The bytes up to there are not protobuf, or there is no field 2 of a type that one of the
/// dialects gives it.
pub fn detect(bytes: &[u8]) -> Result<WireDialect, DecodeError> {
    let mut fields = Fields::new(bytes);
    loop {
        let offset = fields.offset();
        let Some(tag) = fields.tag()? else { return Err(DecodeError::UnknownDialect) };
        match tag {
            LIP109 => return Ok(WireDialect::Lip109),
            NIM_SDS => return Ok(WireDialect::NimSds),
            FIRST => drop(fields.bytes()?),
            _ => {
                let field = fields.field(tag, offset)?;
                if field.number == TELLTALE {
                    return Err(field.wrong_wire_type());
                }
            }
        }
    }
}

/// The channel a message is for, without decoding the rest of it.
///
/// Says nothing about whether the message would decode; nor is the id's length limited.
///
/// # Errors
///
/// The bytes are not protobuf, or name no channel that the dialect permits.
pub fn channel_id(dialect: WireDialect, bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let number = match dialect {
        WireDialect::Lip109 => lip109::CHANNEL_ID,
        WireDialect::NimSds => nim::CHANNEL_ID,
    };
    let mut channel_id = None;
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        if let Value::Bytes(value) = field.value
            && field.number == number
        {
            channel_id = Some(value);
        }
    }
    id_bytes(dialect, number, channel_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_2_decides() {
        assert_eq!(detect(&[0x12, 0, 0x10, 0]), Ok(WireDialect::Lip109));
        assert_eq!(detect(&[0x0a, 0, 0x10, 0, 0x12, 0]), Ok(WireDialect::NimSds));
        assert_eq!(detect(&[0x0a, 0]), Err(DecodeError::UnknownDialect));
        let fixed = DecodeError::WireType { field: 2, wire_type: 5, offset: 0 };
        assert_eq!(detect(&[0x15, 0, 0, 0, 0]), Err(fixed));
    }

    #[test]
    fn the_last_channel_wins() {
        let bytes = [0x1a, 1, b'l', 0x22, 1, b'n', 0x22, 1, b'm'];
        assert_eq!(channel_id(WireDialect::NimSds, &bytes), Ok(&b"m"[..]));
        assert_eq!(channel_id(WireDialect::Lip109, &bytes), Ok(&b"l"[..]));
    }
}
