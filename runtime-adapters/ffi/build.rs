//! Makes `cargo build` put all that a C build needs side by side: the libraries into
//! `target/<profile>`, the header into `include` and a file for pkg-config into `pkgconfig` there.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const HEADER: &str = "include/libsds.h";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={HEADER}");
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libsds.so");
        }
        Ok("macos") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libsds.dylib");
        }
        _ => {}
    }
    let profile = profile_folder();
    let (include, pkgconfig) = (profile.join("include"), profile.join("pkgconfig"));
    fs::create_dir_all(&include)?;
    fs::create_dir_all(&pkgconfig)?;
    fs::copy(HEADER, include.join("libsds.h"))?;
    fs::write(pkgconfig.join("libsds.pc"), pc())
}

/// `target/<profile>`: what Cargo gives us is `build/<package>-<hash>/out` in it.
fn profile_folder() -> PathBuf {
    let out = env::var_os("OUT_DIR").expect("Cargo sets it");
    let folder = Path::new(&out).ancestors().nth(3).expect("Cargo's layout");
    folder.to_owned()
}

/// Found where it lies, so that a copy of the folder is found as well.
fn pc() -> String {
    let version = env::var("CARGO_PKG_VERSION").expect("Cargo sets it");
    format!(
        "prefix=${{pcfiledir}}/..\n\
         libdir=${{prefix}}\n\
         includedir=${{prefix}}/include\n\
         \n\
         Name: libsds\n\
         Description: Scalable Data Sync\n\
         Version: {version}\n\
         Cflags: -I${{includedir}}\n\
         Libs: -L${{libdir}} -lsds\n\
         Libs.private: -lpthread -ldl -lm\n"
    )
}
