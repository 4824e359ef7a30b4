//! `cargo xtask test`: what a change must pass, in the order that finds faults soonest.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{libtorch, workspace::cargo};

/// Runs every check; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    let mut docs = cargo(["doc", "--workspace", "--no-deps"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let (tests, runner) = tests();
    let mut took = vec![step("libtorch", libtorch::ensure_any)?];
    for (name, command) in [
        ("format", cargo(["fmt", "--all", "--check"])),
        ("lints", cargo(lints)),
        ("documentation", docs),
        (runner, tests),
        ("examples in the documentation", cargo(["test", "--workspace", "--doc"])),
    ] {
        took.push(step(name, || pass(name, command))?);
    }
    println!("\nall checks passed");
    for (name, time) in took {
        println!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    Ok(())
}

/// nextest where it is installed, otherwise cargo's own runner.
fn tests() -> (Command, &'static str) {
    let mut probe = cargo(["nextest", "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        (cargo(["nextest", "run", "--workspace", "--profile", "ci"]), "tests, with nextest")
    } else {
        (cargo(["test", "--workspace", "--lib", "--bins", "--tests"]), "tests")
    }
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<(&str, Duration)> {
    println!("\n== {name}");
    let start = Instant::now();
    work()?;
    Ok((name, start.elapsed()))
}

fn pass(name: &str, mut command: Command) -> Result<()> {
    ensure!(command.status()?.success(), "{name}: failed, see above");
    Ok(())
}
