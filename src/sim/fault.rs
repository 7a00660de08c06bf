//! Things that go wrong at a given time.

use alloc::vec::Vec;
use core::fmt;

use super::plan::{Problem, YEAR_MS};
use super::value::{Keep, Value};

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $least:expr,)+
    })+) => {
        /// Something that goes wrong at a given time.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant { $($(#[doc = $field_doc])+ $field: $type,)+ },)+
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant { $($field),+ } => {
                        f.write_str($text)?;
                        $(write!(f, " {}={}", stringify!($field), $field)?;)+
                        Ok(())
                    })+
                }
            }
        }

        impl Fault {
            pub(super) fn read(name: &str, fields: &str) -> Result<Self, Problem> {
                let field = |name: &str| {
                    let mut fields = fields.split_whitespace();
                    let found = fields.find_map(|field| {
                        field.split_once('=').filter(|(key, _)| *key == name)
                    });
                    found.map(|(_, value)| value).ok_or(Problem::Field)
                };
                match name {
                    $($text => {
                        let known = [$(stringify!($field)),+];
                        let knows = |field: &str| known.contains(&field.split('=').next().unwrap_or_default());
                        if !fields.split_whitespace().all(knows) {
                            return Err(Problem::Field);
                        }
                        Ok(Self::$variant {
                            $($field: Value::read(field(stringify!($field))?).ok_or(Problem::Value)?,)+
                        })
                    })+
                    _ => Err(Problem::Name),
                }
            }

            /// Faults that differ from this one in one field, which is nearer to nothing.
            pub(super) fn lesser(self) -> Vec<Self> {
                let mut faults = Vec::new();
                match self {
                    $(Self::$variant { $($field),+ } => {
                        let all = ($($field,)+);
                        faults!(@lesser faults, $variant, all, { $($field: $least),+ });
                    })+
                }
                faults
            }
        }
    };
    (@lesser $faults:ident, $variant:ident, $all:ident, { $($field:ident: $least:expr),+ }) => {{
        #[allow(unused_parens, reason = "a tuple of one field, too")]
        let ($($field,)+) = $all;
        let whole = Self::$variant { $($field),+ };
        $(for value in Value::lesser($field, $least) {
            let mut lesser = whole;
            if let Self::$variant { $field, .. } = &mut lesser {
                *$field = value;
            }
            $faults.push(lesser);
        })+
    }};
}

faults! {
    /// The group falls apart: a member hears only those whose numbers leave the same remainder.
    Partition = "partition" {
        /// When.
        at: u64 = at,
        /// For how long.
        lasts: u64 = 0,
        /// Into how many parts.
        ways: u64 = 2,
    }
    /// One member does not hear another.
    OneWay = "oneway" {
        /// When.
        at: u64 = at,
        /// For how long.
        lasts: u64 = 0,
        /// The one that is not heard.
        from: u64 = from,
        /// The one that does not hear.
        to: u64 = to,
    }
    /// A member stops without warning, and starts again.
    Crash = "crash" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
        /// For how long it is away.
        down: u64 = 0,
        /// The part of its store that is left.
        keep: Keep = Keep::All,
        /// 1: not before it has handed a write to its store, and before that is answered.
        mid_write: u64 = 0,
    }
    /// A member's store takes longer.
    SlowStore = "slow_store" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
        /// For how long.
        lasts: u64 = 0,
        /// Time it takes to answer.
        takes: u64 = 2,
    }
    /// A member's store fails. Some of what it says has failed it has written nevertheless.
    FailingStore = "failing_store" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
        /// For how long.
        lasts: u64 = 0,
    }
    /// A member's wall clock is wrong from the beginning.
    Skew = "skew" {
        /// Which.
        node: u64 = node,
        /// By how many milliseconds it is ahead.
        by: i64 = 0,
    }
    /// A member's clocks run too fast.
    Drift = "drift" {
        /// Which.
        node: u64 = node,
        /// By how many millionths; at most half of the time.
        ppm: i64 = 0,
    }
    /// A member's wall clock jumps.
    Jump = "jump" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
        /// By how many milliseconds.
        by: i64 = 0,
    }
    /// A member's device sleeps: it hears nothing and does nothing, while its clocks go on.
    Sleep = "sleep" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
        /// For how long.
        lasts: u64 = 0,
    }
    /// A member is not there before.
    Join = "join" {
        /// Which.
        node: u64 = node,
        /// When it comes.
        at: u64 = 0,
    }
    /// A member goes for good.
    Leave = "leave" {
        /// Which.
        node: u64 = node,
        /// When.
        at: u64 = at,
    }
}

impl Fault {
    /// When it begins and ends, in milliseconds.
    pub(super) const fn span(self) -> (u64, u64) {
        match self {
            Self::Partition { at, lasts, .. }
            | Self::OneWay { at, lasts, .. }
            | Self::SlowStore { at, lasts, .. }
            | Self::FailingStore { at, lasts, .. }
            | Self::Sleep { at, lasts, .. } => (at, at.saturating_add(lasts)),
            Self::Crash { at, down, .. } => (at, at.saturating_add(down)),
            Self::Jump { at, .. } | Self::Join { at, .. } | Self::Leave { at, .. } => (at, at),
            Self::Skew { .. } | Self::Drift { .. } => (0, 0),
        }
    }

    /// The member that it befalls, and perhaps another.
    pub(super) const fn members(self) -> [Option<u64>; 2] {
        match self {
            Self::Partition { .. } => [None, None],
            Self::OneWay { from, to, .. } => [Some(from), Some(to)],
            Self::Crash { node, .. }
            | Self::SlowStore { node, .. }
            | Self::FailingStore { node, .. }
            | Self::Skew { node, .. }
            | Self::Drift { node, .. }
            | Self::Jump { node, .. }
            | Self::Sleep { node, .. }
            | Self::Join { node, .. }
            | Self::Leave { node, .. } => [Some(node), None],
        }
    }

    pub(super) const fn is_in_range(self) -> bool {
        let (at, end) = self.span();
        let is_possible = match self {
            Self::Drift { ppm, .. } => ppm.unsigned_abs() <= 500_000,
            Self::Skew { by, .. } | Self::Jump { by, .. } => by.unsigned_abs() <= YEAR_MS,
            Self::Partition { ways, .. } => ways >= 1,
            _ => true,
        };
        is_possible && at <= YEAR_MS && end <= YEAR_MS
    }
}
