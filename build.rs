//! Compiles the contract in `proto/` without a system `protoc`, and passes on where libtorch lies.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    compile_contract()?;
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").unwrap_or_default();
    if !lib.is_empty() {
        // For this package's own tests and benches, and for the packages that depend on it.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo:libtorch_lib={lib}");
    }
    Ok(())
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
