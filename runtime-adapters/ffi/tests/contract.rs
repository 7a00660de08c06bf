//! Compiles the programs in `tests/c` against the header and the shared library of this build, and
//! runs them: as they are, and with freed memory overwritten at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Returns the folder in which Cargo put the library for this test.
fn libraries() -> PathBuf {
    let test = env::current_exe().expect("the test's path");
    test.parent().expect("a folder").to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

#[test]
#[cfg(target_os = "linux")]
fn c_programs_get_what_nim_sds_gave_them() {
    compile_and_run("contract");
}

#[test]
#[cfg(target_os = "linux")]
fn c_programs_get_what_the_other_functions_promise() {
    compile_and_run("beyond");
}

#[test]
#[cfg(target_os = "linux")]
fn threads_of_c_programs_read_their_answers_late() {
    compile_and_run("threads");
}

fn compile_and_run(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(libraries());
    run(Command::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"])
        .arg("-I")
        .arg(folder.join("include"))
        .arg(folder.join("tests/c").join(name).with_extension("c"))
        .arg("-L")
        .arg(libraries())
        .arg(rpath)
        .arg("-lsds")
        .arg("-o")
        .arg(&program));
    let overwriting =
        [("MALLOC_PERTURB_", "165"), ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")];
    for environment in [&[][..], &overwriting] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(&program);
        if cfg!(feature = "sqlite") {
            command.arg(folder.path().join("alice.db"));
        }
        let said = run(command.envs(environment.iter().copied()));
        assert!(said.ends_with("all passed\n"), "{said}");
    }
}

/// A C compiler must take the header as C++ too.
#[test]
#[cfg(target_os = "linux")]
fn the_header_is_one_of_cpp_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty.cpp");
    fs::write(&source, "#include <libsds.h>\nint main() { return RET_OK; }\n").expect("written");
    run(Command::new("c++")
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(folder.join("include"))
        .arg(source));
}
