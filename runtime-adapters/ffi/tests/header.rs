//! `include/libsds.h` is what cbindgen makes of the functions; `HEADER_REWRITE=1` makes it so.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(folder.join("src/abi.rs"))
        .with_src(folder.join("src/abi/callback.rs"))
        .generate()
        .expect("a header");
    let mut header = Vec::new();
    bindings.write(&mut header);
    // The heading is one of Rust's documentation.
    let header = String::from_utf8(header).expect("text").replace("// # Safety\n//\n", "");
    let path = folder.join("include/libsds.h");
    if env::var_os("HEADER_REWRITE").is_some() {
        fs::write(&path, &header).expect("the header written");
    }
    let found = fs::read_to_string(&path).expect("the header");
    assert!(found == header, "HEADER_REWRITE=1 cargo test -p libsds --test header writes it anew");
}
