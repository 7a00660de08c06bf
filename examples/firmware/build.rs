//! Tells the linker where the board's memory is.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    if var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = var("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
        println!("cargo::rustc-link-search={here}");
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
        // The vector table lies at address 0, which lld takes for no address at all.
        println!("cargo::rustc-link-arg-bins=--nmagic");
        // Functions of equal code become one.
        println!("cargo::rustc-link-arg-bins=--icf=all");
    }
}
