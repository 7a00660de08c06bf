//! The same inputs once more: the effects must be the same, whenever they are drained (I5, I6).

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Write;
use core::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::judge::Broken;
use crate::config::Config;
use crate::effect::{Effect, Event};
use crate::input::Input;
use crate::node::Node;
use crate::rng::Rng;
use crate::time::Now;

/// Inputs kept at most; what comes after is not repeated.
const MAX_INPUTS: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Replay {
    inputs: Vec<(Now, Input)>,
    /// Hashes of the effects told after each input and before.
    told: Vec<u64>,
    hasher: EffectHasher,
}

/// A running hash of effects.
#[derive(Debug, Clone, Default)]
pub(super) struct EffectHasher(SipHasher13);

impl EffectHasher {
    pub(super) fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { bytes, reason, .. } => {
                self.0.write_u8(*reason as u8);
                self.0.write(bytes);
            }
            Effect::Event(Event::Deliver(delivery)) => {
                self.0.write_u64(delivery.seq.0);
                self.0.write(delivery.entry.message_id().as_bytes());
                self.0.write(
                    delivery.follows.as_ref().map_or(&[], |entry| entry.message_id().as_bytes()),
                );
                self.0.write_u8(u8::from(delivery.gap) | u8::from(delivery.redelivery) << 1);
            }
            // Their contents are compared by what they lead to.
            Effect::Persist { .. } => {}
            other => {
                // Writing to a hash does not fail.
                let _infallible = write!(self, "{other:?}");
            }
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.finish()
    }
}

impl Write for EffectHasher {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl Replay {
    pub(super) fn input(&mut self, now: Now, input: &Input) {
        if self.inputs.len() < MAX_INPUTS {
            self.inputs.push((now, input.clone()));
        }
    }

    pub(super) fn effect(&mut self, effect: &Effect) {
        self.hasher.add(effect);
    }

    /// The member was drained.
    pub(super) fn drained(&mut self) {
        if self.told.len() < self.inputs.len() {
            self.told.push(self.hasher.get());
        }
    }

    /// Does it again twice: drained as then, and drained when it pleases.
    pub(super) fn check(&self, config: &Config, rng: &mut Rng) -> Result<(), Broken> {
        self.repeat(config, || true).map_err(|at| (6, format!("input {at} had other effects")))?;
        self.repeat(config, || rng.percent(30)).map_err(|at| {
            (5, format!("before input {at} the effects depend on when they are drained"))
        })
    }

    /// Whether the effects are the same; if not, the input by which they were not.
    fn repeat(&self, config: &Config, mut drains: impl FnMut() -> bool) -> Result<(), usize> {
        let mut node = Node::new(config.clone());
        let mut hasher = EffectHasher::default();
        let last = self.told.len();
        for (at, ((now, input), told)) in self.inputs.iter().zip(&self.told).enumerate() {
            // A refused input was refused in the original run, too.
            let _refused = node.handle(*now, input.clone());
            if at + 1 < last && !drains() {
                continue;
            }
            while let Some(effect) = node.poll_effect() {
                hasher.add(&effect);
            }
            if hasher.get() != *told {
                return Err(at);
            }
        }
        Ok(())
    }
}
