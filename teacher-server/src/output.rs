//! The output folder of a training that can be resumed: whose it is.

use std::path::Path;

use anyhow::{Context as _, bail};
use lectern::{commands::check_free, files::remove_unfinished};

/// In the output folder while a training is under way.
pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";

/// Refuses an output folder that is not this training's to write to; `what` is what people call it.
pub(crate) fn check_output(folder: &Path, resume: bool, what: &str) -> anyhow::Result<()> {
    let has = |name: &str| folder.join(name).exists();
    match (resume, has(CHECKPOINT)) {
        (false, false) => Ok(check_free(folder)?),
        (false, true) => bail!(
            "{}: holds a {what} that was not finished; go on with --resume, or choose another --output",
            folder.display()
        ),
        (true, false) if has("model.safetensors") => {
            bail!("{}: nothing to resume, this {what} was finished", folder.display())
        }
        (true, unfinished) => {
            remove_unfinished(folder)
                .with_context(|| format!("cannot tidy {}", folder.display()))?;
            if unfinished { Ok(()) } else { Ok(check_free(folder)?) }
        }
    }
}
