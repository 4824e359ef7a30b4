//! Lets the finished program find libtorch: beside it (`../lib`, as in a container) or where the
//! build found it.

use std::path::Path;

fn main() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    let Ok(lib) = std::env::var("DEP_LECTERN_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    if Path::new(&lib).join("libtorch_cuda.so").exists() {
        // No symbol of it is used, so the linker would drop it, and with it every GPU.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}
