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
