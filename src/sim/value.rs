//! The values of a plan as text.

use alloc::vec::Vec;
use core::fmt;

/// A value of a plan: written, read, and made smaller.
pub(super) trait Value: Copy + PartialEq + fmt::Display {
    fn read(text: &str) -> Option<Self>;

    /// Values between this one and `least`, the most promising first: none if it is the least.
    fn lesser(self, least: Self) -> Vec<Self>;
}

impl Value for u64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn lesser(self, least: Self) -> Vec<Self> {
        let half = self.midpoint(least);
        let mut values = Vec::from([least, half]);
        values.dedup();
        values.retain(|value| *value != self);
        values
    }
}

impl Value for i64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn lesser(self, least: Self) -> Vec<Self> {
        let mut values = Vec::from([least, self / 2]);
        values.dedup();
        values.retain(|value| *value != self);
        values
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl Value for $name {
            fn read(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            fn lesser(self, least: Self) -> Vec<Self> {
                if self == least { Vec::new() } else { Vec::from([least]) }
            }
        }
    };
}

choice! {
    /// The dialects that the members speak.
    Speech {
        /// All LIP-109.
        Lip109 = "lip109",
        /// All nim-sds, with syncs.
        NimSds = "nim",
        /// In turn a bridge, LIP-109 and nim-sds, which then do not hear each other.
        Mixed = "mixed",
        /// A bridge, and members that mirror what they hear.
        Mirror = "mirror",
        /// All nim-sds, with syncs; each of its four forms in turn.
        Forms = "forms",
    }
}

choice! {
    /// The kind of store of the members.
    Keeping {
        /// In memory.
        None = "none",
        /// In a store that nothing waits for.
        Relaxed = "relaxed",
        /// In a store that effects wait for.
        Strict = "strict",
        /// In turn each of them.
        Mixed = "mixed",
    }
}

choice! {
    /// Distribution of the variable part of a latency.
    Tail {
        /// Evenly, from nothing to twice the mean.
        Uniform = "uniform",
        /// Exponentially: most are short, few long.
        Exponential = "exponential",
        /// By a power law (Pareto, shape 1.5): a few are very long, up to a hundred times the mean.
        Pareto = "pareto",
    }
}

choice! {
    /// The part of a member's store that is left after a crash.
    Keep {
        /// All writes handed out, whether or not they were answered.
        All = "all",
        /// The older half of the writes not yet answered, and all before.
        Half = "half",
        /// The writes that were answered, and no other.
        Answered = "answered",
        /// Nothing: it begins anew.
        Nothing = "nothing",
    }
}
