//! The C code in the guide compiles.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_code_in_the_guide_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(folder.join("../../docs/c.md")).expect("the guide");
    let programs = guide.split("```c\n").skip(1).map(|rest| rest.split("```").next());
    let programs: Vec<&str> =
        programs.map(|program| program.expect("the end of a block")).collect();
    assert!(!programs.is_empty(), "the guide has code");
    for (index, program) in programs.into_iter().enumerate() {
        let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guide{index}.c"));
        fs::write(&source, program).expect("written");
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I"]);
        let output = cc.arg(folder.join("include")).arg(&source).output().expect("a C compiler");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
