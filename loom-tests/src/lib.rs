//! Models of the lock-free channel, to be run under `--cfg sds_loom`.
//!
//! There is no such channel yet, so there is no model either.
