//! Reads the fields of a case; what is absent or of another type is an error that says which.

use core::fmt::Debug;

use serde_json::Value;

/// `Err` unless both are equal.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, ours: &T, expected: &T) -> Result<(), String> {
    if ours == expected {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(400).collect::<String>();
    Err(format!("{what}: ours {}, expected {}", short(ours), short(expected)))
}

/// `Err` if the object has a field beside these, which nobody would check.
pub(crate) fn only(object: &Value, fields: &[&str]) -> Result<(), String> {
    let object = object.as_object().ok_or("not an object")?;
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(key) => Err(format!("{key}: an unknown field, not checked")),
        None => Ok(()),
    }
}

/// The field of this name, of whatever type.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> Result<&'a Value, String> {
    object.get(name).ok_or_else(|| format!("{name}: absent"))
}

/// A field that `read` understands.
pub(crate) fn get<'a, T>(
    object: &'a Value,
    name: &str,
    read: impl Fn(&'a Value) -> Result<T, String>,
) -> Result<T, String> {
    read(field(object, name)?).map_err(|reason| format!("{name}: {reason}"))
}

/// A list field, each item of which `read` understands.
pub(crate) fn list<'a, T, C: FromIterator<T>>(
    object: &'a Value,
    name: &str,
    read: impl Fn(&'a Value) -> Result<T, String>,
) -> Result<C, String> {
    let items = field(object, name)?.as_array().ok_or_else(|| format!("{name}: not a list"))?;
    items.iter().map(read).collect::<Result<_, _>>().map_err(|reason| format!("{name}: {reason}"))
}

/// `None` for null.
pub(crate) fn nullable<'a, T>(
    read: impl Fn(&'a Value) -> Result<T, String>,
) -> impl Fn(&'a Value) -> Result<Option<T>, String> {
    move |value| if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

/// A string.
pub(crate) fn string(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "not a string".into())
}

/// A truth value.
pub(crate) fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "neither true nor false".into())
}

/// A 64-bit number, as such or as a decimal string. Negative ones, which nim-sds writes for values
/// of 2^63 and above, become the unsigned number of the same bits.
pub(crate) fn number(value: &Value) -> Result<u64, String> {
    let text = if value.is_number() { value.to_string() } else { string(value)?.to_owned() };
    let signed = |_| text.parse::<i64>().map(i64::cast_unsigned);
    text.parse().or_else(signed).map_err(|_| format!("{text:?} is no 64-bit number"))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(value: &Value) -> Result<Vec<u8>, String> {
    let text = string(value)?;
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err("not hexadecimal".into()),
    }
}

/// Text as a string, or as `{hex, len, str}`, where `str` is absent if it is not UTF-8.
pub(crate) fn text(value: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    only(value, &["hex", "len", "str"])?;
    let bytes = get(value, "hex", hex)?;
    same("len", &(bytes.len() as u64), &get(value, "len", number)?)?;
    same("str", &value.get("str").and_then(Value::as_str), &str::from_utf8(&bytes).ok())?;
    Ok(bytes)
}
