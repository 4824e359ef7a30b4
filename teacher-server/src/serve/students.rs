//! Who is connected and what each holds, by the name of its experiment.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// What all streams of one experiment hold together.
#[derive(Debug, Default)]
struct Held {
    streams: AtomicUsize,
    in_flight: AtomicUsize,
    rows: AtomicU64,
}

/// One experiment as the metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StudentReading {
    pub(super) experiment: Arc<str>,
    pub(super) streams: usize,
    /// Credits in use.
    pub(super) in_flight: usize,
    /// Rows and failures answered.
    pub(super) rows: u64,
}

/// The experiments that have a stream open; a name goes when its last stream does, so that a server
/// that runs for months does not list every student it ever had.
#[derive(Debug, Default)]
pub(super) struct Students(Mutex<BTreeMap<Arc<str>, Arc<Held>>>);

impl Students {
    /// Counts a stream of `experiment` until the returned value is dropped.
    pub(super) fn enter(self: &Arc<Self>, experiment: &str) -> Student {
        let mut students = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = students
            .get_key_value(experiment)
            .map_or_else(|| Arc::from(experiment), |(name, _)| Arc::clone(name));
        let held = Arc::clone(students.entry(Arc::clone(&name)).or_default());
        held.streams.fetch_add(1, Ordering::Relaxed);
        Student { all: Arc::clone(self), name, held, in_flight: 0 }
    }

    pub(super) fn read(&self) -> Vec<StudentReading> {
        let students = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = |(name, held): (&Arc<str>, &Arc<Held>)| StudentReading {
            experiment: Arc::clone(name),
            streams: held.streams.load(Ordering::Relaxed),
            in_flight: held.in_flight.load(Ordering::Relaxed),
            rows: held.rows.load(Ordering::Relaxed),
        };
        students.iter().map(reading).collect()
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Student {
    all: Arc<Students>,
    name: Arc<str>,
    held: Arc<Held>,
    in_flight: usize,
}

impl Student {
    pub(super) fn experiment(&self) -> &Arc<str> {
        &self.name
    }

    /// Notes that `n` examples took a credit each.
    pub(super) fn took(&mut self, n: usize) {
        self.in_flight += n;
        self.held.in_flight.fetch_add(n, Ordering::Relaxed);
    }

    /// Notes that `n` answers gave their credits back.
    pub(super) fn gave_back(&mut self, n: usize) {
        let n = n.min(self.in_flight);
        self.in_flight -= n;
        self.held.in_flight.fetch_sub(n, Ordering::Relaxed);
        self.held.rows.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl Drop for Student {
    fn drop(&mut self) {
        let mut students = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.in_flight.fetch_sub(self.in_flight, Ordering::Relaxed);
        if self.held.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            students.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_experiment_add_up_and_the_name_goes_with_the_last() {
        let students = Arc::new(Students::default());
        let (mut one, mut two) = (students.enter("a"), students.enter("a"));
        one.took(3);
        two.took(2);
        one.gave_back(1);
        let reading = |streams, in_flight, rows| {
            [StudentReading { experiment: "a".into(), streams, in_flight, rows }]
        };
        assert_eq!(students.read(), reading(2, 4, 1));
        drop(one);
        assert_eq!(students.read(), reading(1, 2, 1));
        drop(two);
        assert!(students.read().is_empty());
    }
}
