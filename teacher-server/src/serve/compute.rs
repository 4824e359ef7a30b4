//! The one thread that owns the teacher. Knows tensors, not gRPC.

use std::{
    io,
    sync::Arc,
    thread::{self, Builder, JoinHandle},
};

use lectern::models::{Classifier as _, ModelError, Teacher};
use tracing::debug;

use super::engine::Engine;

/// Runs one forward pass, so that a teacher that cannot is found before students come, then starts the
/// thread. It ends when the engine is stopped or the teacher fails.
pub(super) fn start(
    teacher: Teacher,
    engine: Arc<Engine>,
    threads: usize,
) -> io::Result<Result<JoinHandle<()>, ModelError>> {
    if let Err(cause) = warm_up(&teacher) {
        return Ok(Err(cause));
    }
    let run = move || {
        // libtorch counts threads per calling thread under OpenMP.
        tch::set_num_threads(threads as i32);
        let _guard = FailOnPanic(&engine);
        serve(&teacher, &engine);
    };
    Builder::new().name("compute".to_owned()).spawn(run).map(Ok)
}

fn warm_up(teacher: &Teacher) -> Result<(), ModelError> {
    // Two lengths, so that padding and masking are warm too.
    let short = teacher.tokenizer().encode("warm", None)?;
    let long = teacher.tokenizer().encode("warm up the teacher", None)?;
    teacher.predict(&[&short, &long]).map(drop)
}

fn serve(teacher: &Teacher, engine: &Engine) {
    while let Some(batch) = engine.next_batch() {
        let tokens: Vec<_> = batch.tokens.iter().collect();
        let longest = tokens.iter().map(|t| t.len()).max().unwrap_or(0);
        match teacher.predict(&tokens) {
            Ok(rows) => engine.finish(&batch, rows, longest * tokens.len()),
            Err(cause) => return engine.fail(cause.to_string()),
        }
        debug!(examples = tokens.len(), longest, "batch computed");
    }
}

/// Turns a panic on the compute thread into the teacher's failure, so that nobody waits for ever.
struct FailOnPanic<'a>(&'a Engine);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("its thread panicked".to_owned());
        }
    }
}
