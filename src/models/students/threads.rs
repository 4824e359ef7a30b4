//! Threads of our own beside libtorch's.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Some threads, each of which may use `each` of libtorch's for an operation. `None` where none can be had.
pub(super) fn hire(count: usize, each: i32) -> Option<ThreadPool> {
    let own = tch::get_num_threads();
    let pool = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("student-{i}"))
        .start_handler(move |_| tch::set_num_threads(each))
        .build();
    // libtorch gives threads that it has not seen yet the number that was set last, whoever set it.
    let pool = pool.ok()?;
    pool.broadcast(|_| ());
    tch::set_num_threads(own);
    Some(pool)
}
