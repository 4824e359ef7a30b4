//! Students as `student-trainer` has them, without the training: their streams of soft labels.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use lectern::wire::Fingerprint;
use student_trainer::labels::{Request, SoftLabels, StreamSettings, TeacherUrl};

/// Examples of one training step.
const BATCH: usize = 64;

/// Has each student ask for its texts in the order given; how long it took until all had all rows.
pub(crate) fn label(
    url: &TeacherUrl,
    fingerprint: &Fingerprint,
    students: Vec<Vec<String>>,
) -> Result<Duration> {
    let start = Instant::now();
    let students: Vec<_> = students
        .into_iter()
        .enumerate()
        .map(|(i, texts)| {
            let (url, fingerprint) = (url.clone(), fingerprint.clone());
            thread::spawn(move || {
                let batches: Vec<_> = requests(&texts).chunks(BATCH).map(<[_]>::to_vec).collect();
                let count = batches.len();
                let settings = settings(url, &format!("student {i}"));
                let mut labels = SoftLabels::start(settings, fingerprint, batches.into_iter())?;
                (0..count).try_for_each(|_| next(&mut labels).map(drop))
            })
        })
        .collect();
    for student in students {
        student.join().map_err(|_| anyhow!("a student panicked"))??;
    }
    Ok(start.elapsed())
}

/// A stream that remembers nothing, so that every row is asked for each time.
pub(crate) fn settings(url: TeacherUrl, experiment: &str) -> StreamSettings {
    StreamSettings { memory_bytes: 0, ..StreamSettings::new(url, experiment) }
}

pub(crate) fn requests(texts: &[String]) -> Vec<Arc<Request>> {
    texts.iter().map(|text| Arc::new(Request::new(text.clone(), None))).collect()
}

/// The rows of the next batch; a row that is missing is an error.
pub(crate) fn next(labels: &mut SoftLabels) -> Result<Vec<Arc<[f32]>>> {
    Ok(labels.next_batch()?.into_iter().collect::<Result<_, _>>()?)
}

/// Deals `texts` out to `n` students.
pub(crate) fn deal(texts: &[String], n: usize) -> Vec<Vec<String>> {
    texts.chunks(texts.len().div_ceil(n)).map(<[String]>::to_vec).collect()
}
