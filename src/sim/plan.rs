//! The plan of a simulated group: settings, and faults at given times.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::fault::Fault;
use super::value::{Keeping, Speech, Tail, Value};

/// Nothing takes longer.
pub(super) const YEAR_MS: u64 = 366 * 24 * 3_600 * 1_000;

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// The group, what it publishes, and what goes wrong.
        ///
        /// A plan is a text, one setting or fault a line, so that a run can be repeated:
        ///
        /// ```
        /// use sds_proto::sim::Plan;
        ///
        /// let text = "nodes 8\nloss 30\ncrash node=3 at=75000 down=2000 keep=answered mid_write=1\n";
        /// let plan: Plan = text.parse()?;
        /// assert_eq!((plan.nodes, plan.loss, plan.faults.len()), (8, 30, 1));
        /// assert_eq!(plan.to_string(), text);
        /// # Ok::<(), sds_proto::sim::PlanError>(())
        /// ```
        ///
        /// Settings at their defaults are left out. Times are milliseconds of simulated time.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Plan {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// The faults at given times.
            pub faults: Vec<Fault>,
        }

        impl Default for Plan {
            fn default() -> Self {
                Self { $($name: $default,)+ faults: Vec::new() }
            }
        }

        impl fmt::Display for Plan {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let default = Self::default();
                $(if self.$name != default.$name {
                    writeln!(f, "{} {}", stringify!($name), self.$name)?;
                })+
                self.faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))
            }
        }

        impl Plan {
            fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
                match name {
                    $(stringify!($name) => {
                        self.$name = Value::read(value).ok_or(Problem::Value)?;
                    })+
                    _ => return Err(Problem::Name),
                }
                Ok(())
            }

            /// Plans that differ from this one in one setting, which is nearer to its default.
            pub(super) fn with_lesser_settings(&self) -> Vec<Self> {
                let default = Self::default();
                let mut plans = Vec::new();
                $(for $name in self.$name.lesser(default.$name) {
                    plans.push(Self { $name, ..self.clone() });
                })+
                plans
            }
        }
    };
}

settings! {
    /// Members, those that join later included.
    nodes: u64 = 2;
    /// Messages published by the plan, by members in random order.
    messages: u64 = 10;
    /// Mean time between two of them.
    gap_ms: u64 = 3_000;
    /// Chance in percent that a message is published at the same instant as the one before it.
    together: u64 = 20;
    /// Bytes of content of a message.
    content: u64 = 64;
    /// The dialects spoken.
    speech: Speech = Speech::Lip109;
    /// The kind of store of the members.
    keeping: Keeping = Keeping::None;
    /// Members without a wall clock: the last ones.
    without_wall: u64 = 0;
    /// Bodies a log holds at most; 0: as many as are published.
    log: u64 = 0;

    /// Chance in percent that a datagram is lost on its way to a receiver.
    loss: u64 = 0;
    /// Chance in percent that it is lost while the receiver is in a bad spell (Gilbert–Elliott).
    burst_loss: u64 = 0;
    /// Chance in thousandths that a receiver's bad spell begins with a datagram.
    burst_begin: u64 = 0;
    /// Chance in thousandths that it ends with a datagram.
    burst_end: u64 = 1_000;
    /// Chance in percent that a datagram arrives twice.
    duplicate: u64 = 0;
    /// Chance in percent that a datagram is held up so that later ones overtake it.
    reorder: u64 = 0;
    /// By how much at most.
    reorder_ms: u64 = 0;
    /// Least latency.
    latency_ms: u64 = 20;
    /// Mean of the latency beyond that.
    jitter_ms: u64 = 0;
    /// Distribution of the latency.
    tail: Tail = Tail::Uniform;
    /// Bytes a second that a member can send, in kilobytes; 0: any. What would wait for longer than
    /// 5 s is dropped.
    bandwidth: u64 = 0;

    /// Time a store takes to answer.
    store_ms: u64 = 2;
    /// Chance in percent that a store node has a message that is asked for; 0: there is no store
    /// node.
    archive: u64 = 0;
    /// Minutes awake without progress after which a dependency is given up: from 15, for three
    /// requests.
    lost_after_min: u64 = 240;
    /// Minutes after the last fault and the last message, in which everything must be
    /// everywhere.
    patience_min: u64 = 4_320;
}

/// A plan that cannot be carried out: the fault of whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PlanError {
    /// The line it is about; empty if it is about no single line.
    pub line: String,
    /// The fault.
    pub problem: Problem,
}

/// A fault of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such setting or fault.
    Name,
    /// The value is none of those that the setting can have.
    Value,
    /// A field of the fault is missing, or it has none of that name.
    Field,
    /// A chance is above the whole, or a number out of its range.
    Range,
    /// A member is named that is not there.
    Member,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Name => "there is no such setting or fault",
            Problem::Value => "the value is none that it can have",
            Problem::Field => "a field is missing or unknown",
            Problem::Range => "a number is out of its range",
            Problem::Member => "there is no such member",
        };
        write!(f, "the plan says {:?}: {problem}", self.line)
    }
}

impl core::error::Error for PlanError {}

impl FromStr for Plan {
    type Err = PlanError;

    /// Reads a plan as it was printed. Empty lines and what follows a `#` do not count.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let read = match plan.set(name, value.trim()) {
                Err(Problem::Name) => Fault::read(name, value).map(|fault| plan.faults.push(fault)),
                set => set,
            };
            read.map_err(|problem| PlanError { line: line.to_string(), problem })?;
        }
        Ok(plan)
    }
}

impl Plan {
    /// Checks every number.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let numbers = [
            ("nodes", self.nodes, 1, 100_000),
            ("messages", self.messages, 0, 1 << 20),
            ("gap_ms", self.gap_ms, 0, YEAR_MS),
            ("together", self.together, 0, 100),
            ("content", self.content, 1, 1 << 20),
            ("loss", self.loss, 0, 100),
            ("burst_loss", self.burst_loss, 0, 100),
            ("burst_begin", self.burst_begin, 0, 1_000),
            ("burst_end", self.burst_end, 0, 1_000),
            ("duplicate", self.duplicate, 0, 100),
            ("reorder", self.reorder, 0, 100),
            ("reorder_ms", self.reorder_ms, 0, YEAR_MS),
            ("latency_ms", self.latency_ms, 0, YEAR_MS),
            ("jitter_ms", self.jitter_ms, 0, YEAR_MS),
            ("bandwidth", self.bandwidth, 0, 1 << 40),
            ("store_ms", self.store_ms, 0, YEAR_MS),
            ("archive", self.archive, 0, 100),
            ("lost_after_min", self.lost_after_min, 15, YEAR_MS / 60_000),
            ("patience_min", self.patience_min, 1, YEAR_MS / 60_000),
        ];
        for (name, value, min, max) in numbers {
            if !(min..=max).contains(&value) {
                let line = alloc::format!("{name} {value}");
                return Err(PlanError { line, problem: Problem::Range });
            }
        }
        for fault in &self.faults {
            let error = |problem| Err(PlanError { line: fault.to_string(), problem });
            if fault.members().into_iter().flatten().any(|member| member >= self.nodes) {
                return error(Problem::Member);
            }
            if !fault.is_in_range() {
                return error(Problem::Range);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Keep;

    #[test]
    fn what_was_printed_is_read_again() {
        for seed in 0..200 {
            let plan = Plan::random(seed, 8, 50);
            assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
            assert_eq!(plan.check(), Ok(()));
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let problem =
            |text: &str| text.parse::<Plan>().map_err(|error| (error.line, error.problem));
        let says = |line: &str, problem| Err((line.to_string(), problem));
        assert_eq!(problem("loss 3\nlos 4"), says("los 4", Problem::Name));
        assert_eq!(problem("loss x # much"), says("loss x", Problem::Value));
        assert_eq!(problem("leave node=1"), says("leave node=1", Problem::Field));
        assert_eq!(
            problem("leave node=1 at=2 to=3"),
            says("leave node=1 at=2 to=3", Problem::Field)
        );
        let mut plan = Plan { loss: 101, ..Plan::default() };
        assert_eq!(plan.check().unwrap_err().problem, Problem::Range);
        plan.loss = 100;
        plan.faults.push(Fault::Leave { node: 2, at: 0 });
        assert_eq!(plan.check().unwrap_err().problem, Problem::Member);
    }

    #[test]
    fn what_is_smaller_is_smaller() {
        let plan = Plan { loss: 30, ..Plan::default() };
        let smaller: Vec<u64> = plan.with_lesser_settings().iter().map(|plan| plan.loss).collect();
        assert_eq!(smaller, [0, 15]);
        let leave = Fault::Crash { node: 1, at: 5, down: 8, keep: Keep::All, mid_write: 0 };
        let down = |fault: &Fault| matches!(fault, Fault::Crash { down: 0 | 4, .. });
        assert_eq!((leave.lesser().len(), leave.lesser().iter().all(down)), (2, true));
    }
}
