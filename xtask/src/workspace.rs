//! Where things lie in the repository, and how cargo is called from inside cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    // At run time cargo says where the manifest is now; a moved checkout keeps its old binary.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
});

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    &ROOT
}

/// What was downloaded or derived from downloads; may be deleted at any time.
pub(crate) fn cache() -> PathBuf {
    root().join(".cache")
}

/// Where `cargo xtask libtorch` puts libtorch, and where `.cargo/config.toml` points.
pub(crate) fn libtorch() -> PathBuf {
    root().join(".libtorch")
}

/// A cargo command in the repository's root, with the environment that a plain call would have:
/// cargo's own `LIBTORCH` for this program must not look like the user's.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(args);
    if libtorch_of_user().is_none() {
        cargo.env_remove("LIBTORCH");
    }
    cargo
}

/// `LIBTORCH` or `LIBTORCH_USE_PYTORCH` as the user set it before calling cargo.
pub(crate) fn libtorch_of_user() -> Option<String> {
    if let Ok(value) = env::var("LIBTORCH_USE_PYTORCH") {
        return Some(format!("LIBTORCH_USE_PYTORCH={value}"));
    }
    let value = env::var_os("LIBTORCH")?;
    (Path::new(&value) != libtorch()).then(|| format!("LIBTORCH={}", value.display()))
}

/// Builds both programs for release and answers the folder that holds them.
pub(crate) fn build_programs() -> Result<PathBuf> {
    let mut build = cargo([
        "build",
        "--release",
        "--package",
        "teacher-server",
        "--package",
        "student-trainer",
    ]);
    ensure!(build.status()?.success(), "the release build failed: see cargo's errors above");
    Ok(target()?.join("release"))
}

/// Cargo's target folder, wherever the user moved it.
fn target() -> Result<PathBuf> {
    let output = cargo(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(target.into())
}
