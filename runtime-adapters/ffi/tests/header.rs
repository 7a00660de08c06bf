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

/// Every event that the source makes is explained in the header and in the guide.
#[test]
fn every_event_is_in_the_header_and_the_guide() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(folder.join(path)).expect("text");
    let source = read("src/worker.rs");
    let (header, guide) = (read("include/libsds.h"), read("../../docs/c.md"));
    // Each is made by one of these, whose last argument is its type.
    let calls = ["about(", "of_type(", "plain("];
    let made = calls.iter().flat_map(|call| source.split(call).skip(1)).filter_map(|rest| {
        let arguments = &rest[..end_of_call(rest)?];
        let (_, name) =
            arguments.trim_end_matches([',', ' ', '\n']).strip_suffix('"')?.rsplit_once('"')?;
        Some(name)
    });
    let mut count = 0;
    for event in made {
        assert!(header.contains(&format!("// - \"{event}\"")), "{event} is not in the header");
        assert!(guide.contains(&format!("| `{event}` |")), "{event} is not in docs/c.md");
        count += 1;
    }
    assert!(count >= 9, "{count} events were found in the source");
}

/// Returns the position of the parenthesis that closes the one before `rest`.
fn end_of_call(rest: &str) -> Option<usize> {
    let mut open = 1;
    rest.find(|character| {
        match character {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    })
}
