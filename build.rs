//! Compiles the contract in `proto/` without a system `protoc`, and says how to link with libtorch.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    compile_contract()?;
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").unwrap_or_default();
    if !lib.is_empty() {
        let arguments = link_arguments(&lib);
        // For this package's own tests and benches, and for the build scripts of packages that depend on it.
        println!("cargo:rustc-link-arg={arguments}");
        println!("cargo:link_arguments={arguments}");
    }
    Ok(())
}

/// What lets a program find libtorch where the build found it.
fn link_arguments(lib: &str) -> String {
    let mut arguments = format!("-Wl,-rpath,{lib}");
    if Path::new(lib).join("libtorch_cuda.so").exists() {
        // No symbol of it is used, so the linker would drop it, and with it every GPU.
        arguments.push_str(",--no-as-needed,-ltorch_cuda,--as-needed");
    }
    arguments
}

fn compile_contract() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["lectern/v1/teacher.proto"], ["proto"])?;
    // Server reflection answers from this file.
    let out = PathBuf::from(env::var("OUT_DIR")?).join("lectern_descriptor.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
