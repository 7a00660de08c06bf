//! The C interface of Scalable Data Sync: `libsds.so`, `libsds.a` and `libsds.h`.
//!
//! Programs written for nim-sds's libsds run on it without being recompiled: the same symbols,
//! codes, texts and JSON, on the same threads and in the same order. `README.md` says where it
//! differs on purpose, `include/libsds.h` what each function does, and `docs/c.md` in the
//! repository is the way in, with a program.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `abi` | the functions and the callbacks: the only `unsafe` code |
//! | `contexts` | which pointers are contexts |
//! | `context`, `signal`, `waits` | one context: its thread, how calls get there and wait |
//! | `server` | the thread: an event loop around a worker; panics end here |
//! | `worker`, `request`, `failure` | what a call does to the node, and what it answers |
//! | `settings`, `storage` | the JSON configuration; the store it names |
//! | `json`, `decimal`, `text` | what goes out |
//! | `kept` | answers that are read after their call has returned |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "pointers and callbacks of C")]
#[deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
pub mod abi;
mod context;
mod contexts;
mod decimal;
mod failure;
mod json;
mod kept;
mod request;
mod server;
mod settings;
mod signal;
mod storage;
mod text;
mod waits;
mod worker;
