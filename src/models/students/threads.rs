//! Threads of our own beside libtorch's.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Some threads, each of which may use `each` of libtorch's for an operation. `None` where none can be had.
pub(super) fn hire(count: usize, each: i32) -> Option<ThreadPool> {
    let own = tch::get_num_threads();
    let pool = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("student-{i}"))
        .start_handler(move |_| {
            // libtorch gives a thread the number that was set last, whoever set it, when the thread first asks or
            // computes, and not when it sets its own.
            let _last = tch::get_num_threads();
            tch::set_num_threads(each);
        })
        .build();
    let pool = pool.ok()?;
    pool.broadcast(|_| ());
    tch::set_num_threads(own);
    Some(pool)
}

/// While it lives, the calling thread has fewer of libtorch's threads.
#[derive(Debug)]
pub struct FewerThreads {
    before: Option<i32>,
}

impl FewerThreads {
    /// One alone, if `wanted`: threads that have nothing to do spin for milliseconds before they sleep, on cores that
    /// threads of our own would have.
    pub(in crate::models) fn one_if(wanted: bool) -> Self {
        let before = wanted.then(tch::get_num_threads);
        if wanted {
            tch::set_num_threads(1);
        }
        Self { before }
    }
}

impl Drop for FewerThreads {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            tch::set_num_threads(before);
        }
    }
}
