//! Lets the finished program find libtorch: beside it (`../lib`, as in a container) or where the
//! build found it.

fn main() {
    lectern_rpath();
}

fn lectern_rpath() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    if let Ok(lib) = std::env::var("DEP_LECTERN_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
