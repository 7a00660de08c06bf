//! Bloom filters: what a participant has received, in a few bits an id.
//!
//! A participant attaches its filter to what it sends; senders look their own unacknowledged
//! messages up in it. An id that was inserted is always found; one that was not is found now and
//! then, and [`ReceivedFilter::false_positive_ln`] says how rarely.
//!
//! An id is hashed once, into a [`Probe`], which serves filters of every size. A filter's size and
//! number of hash functions are its [`Geometry`]. [`RollingFilter`] is the own filter of a channel,
//! which forgets old ids; [`ReceivedFilter`] is a peer's, read in place from its message.

mod filter;
mod geometry;
mod probe;
mod recalled;
mod received;
mod ring;
mod rolling;

pub use filter::Filter;
pub use geometry::{Geometry, GeometryError};
pub use probe::{Indices, Probe};
pub use recalled::ProbeFilter;
pub(crate) use received::NO_EVIDENCE_LN;
pub use received::{FilterError, MAX_K, ReceivedFilter};
pub use rolling::{Rolling, RollingFilter};
