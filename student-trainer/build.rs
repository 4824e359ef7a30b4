//! Lets the finished program find libtorch: beside it (`../lib`, as in a container) or where the
//! build found it.

fn main() {
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    if let Ok(arguments) = std::env::var("DEP_LECTERN_LINK_ARGUMENTS") {
        println!("cargo:rustc-link-arg={arguments}");
    }
}
