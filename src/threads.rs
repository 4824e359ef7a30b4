//! Threads of our own beside libtorch's.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::Device;

/// Two threads for two halves of a job, or the caller's alone.
#[derive(Debug)]
pub struct Pair(Option<ThreadPool>);

impl Pair {
    /// - `threads`: of libtorch's for an operation, for both together
    pub fn hire(threads: i32) -> Self {
        Self(if threads > 1 { hire(2, threads / 2) } else { None })
    }

    /// What computes the halves of a training's batches on `device` with `threads`: one thread where a GPU does.
    pub fn on(device: Device, threads: usize) -> Self {
        if device.is_cuda() { Self::none() } else { Self::hire(threads as i32) }
    }

    /// The caller's thread.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Does a job for each of two inputs, without a record of what is computed.
    pub(crate) fn both<I: Send, O: Send, E: Send>(
        &self,
        [first, second]: [I; 2],
        job: impl Fn(I) -> Result<O, E> + Sync,
    ) -> Result<[O; 2], E> {
        self.both_recorded([first, second], |input| {
            let _no_grad = tch::no_grad_guard();
            job(input)
        })
    }

    /// The same with a record of what is computed.
    pub(crate) fn both_recorded<I: Send, O: Send, E: Send>(
        &self,
        [first, second]: [I; 2],
        job: impl Fn(I) -> Result<O, E> + Sync,
    ) -> Result<[O; 2], E> {
        let (first, second) = match &self.0 {
            None => (job(first), job(second)),
            Some(pair) => pair.install(|| rayon::join(|| job(first), || job(second))),
        };
        Ok([first?, second?])
    }

    /// Whether there are two threads.
    pub(crate) const fn is_two(&self) -> bool {
        self.0.is_some()
    }
}

/// Some threads, each of which may use `each` of libtorch's for an operation. `None` where none can be had.
pub(crate) fn hire(count: usize, each: i32) -> Option<ThreadPool> {
    let own = tch::get_num_threads();
    let pool = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("half-{i}"))
        .start_handler(move |_| {
            allow(each);
        })
        .build();
    let pool = pool.ok()?;
    pool.broadcast(|_| ());
    tch::set_num_threads(own);
    Some(pool)
}

/// Lets a new thread use so many of libtorch's for an operation, which OpenMP counts for each calling thread.
///
/// libtorch gives a thread the number that was set last, whoever set it, when the thread first asks or computes, and not
/// when it sets its own: so it asks first.
pub fn allow(threads: i32) {
    let _last = tch::get_num_threads();
    tch::set_num_threads(threads);
}

/// While it lives, the calling thread has fewer of libtorch's threads.
#[derive(Debug)]
pub struct FewerThreads {
    before: Option<i32>,
}

impl FewerThreads {
    /// One alone, if `wanted`: threads that have nothing to do spin for milliseconds before they sleep, on cores that
    /// threads of our own would have.
    pub(crate) fn one_if(wanted: bool) -> Self {
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
