//! What benches of several sections have in common on their command lines.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;

/// Which sections to run, and how thoroughly.
#[derive(Args)]
pub(crate) struct Sections<S: ValueEnum + Send + Sync + 'static> {
    /// Sections to run [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SECTIONS")]
    only: Vec<S>,
    /// Fewer and shorter turns: whether it works, not how fast it is
    #[arg(long)]
    pub(crate) quick: bool,
    /// What `cargo bench` passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl<S: ValueEnum + PartialEq + Send + Sync + 'static> Sections<S> {
    /// Runs those that are wanted, in their order, each under its name.
    pub(crate) fn run(&self, mut run: impl FnMut(&S) -> Result<Vec<Value>>) -> Result<Vec<Value>> {
        let mut measures = Vec::new();
        for section in S::value_variants() {
            if self.only.is_empty() || self.only.contains(section) {
                let value = section.to_possible_value();
                let name = value.as_ref().map_or("", |value| value.get_name());
                println!("\n{name}");
                measures.extend(run(section).with_context(|| name.to_owned())?);
            }
        }
        Ok(measures)
    }
}
