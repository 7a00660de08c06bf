//! Which pointers are contexts.

use core::sync::atomic::AtomicU8;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use crate::context::Context;
use crate::settings::Settings;

/// Contexts that can be at once, and that are made before an address is used again.
const COUNT: usize = 1 << 20;

/// The source of addresses for contexts. It is never read or written, so that it takes no memory;
/// but the addresses are real ones inside this library, which no other object has and which
/// languages that check pointers accept.
static ADDRESSES: [AtomicU8; COUNT] = [const { AtomicU8::new(0) }; COUNT];

static CONTEXTS: RwLock<Contexts> = RwLock::new(Contexts { made: 0, live: BTreeMap::new() });

struct Contexts {
    made: usize,
    live: BTreeMap<usize, Arc<Context>>,
}

/// Makes a context and says what its pointer points to.
pub(crate) fn create(settings: Settings) -> io::Result<(*const AtomicU8, Arc<Context>)> {
    let place = reserve()?;
    let context = Arc::new(Context::start(place.addr(), settings)?);
    let mut contexts = CONTEXTS.write().unwrap_or_else(PoisonError::into_inner);
    contexts.live.insert(place.addr(), Arc::clone(&context));
    Ok((place, context))
}

/// The context at `address`, if there is one, and it was made by this process.
pub(crate) fn find(address: usize) -> Option<Arc<Context>> {
    let contexts = CONTEXTS.read().unwrap_or_else(PoisonError::into_inner);
    contexts.live.get(&address).filter(|context| context.is_of_this_process()).cloned()
}

/// Takes the context at `address` away, so that nobody finds it any more.
pub(crate) fn remove(address: usize) -> Option<Arc<Context>> {
    CONTEXTS.write().unwrap_or_else(PoisonError::into_inner).live.remove(&address)
}

/// The next address that is not in use.
fn reserve() -> io::Result<*const AtomicU8> {
    let mut contexts = CONTEXTS.write().unwrap_or_else(PoisonError::into_inner);
    if contexts.live.len() >= COUNT {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    loop {
        let place = &raw const ADDRESSES[contexts.made % COUNT];
        contexts.made += 1;
        if !contexts.live.contains_key(&place.addr()) {
            return Ok(place);
        }
    }
}
