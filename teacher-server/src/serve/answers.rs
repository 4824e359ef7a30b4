//! Where the answers to one stream or call arrive. When it goes, what only it waited for goes with it, at
//! once: work that a quota holds back would else take up the queue until the quota opens.

use std::sync::Arc;

use lectern::wire::Answer;
use tokio::sync::mpsc;

use super::engine::Engine;

/// See the module.
#[derive(Debug)]
pub(super) struct Answers {
    receiver: mpsc::Receiver<Answer>,
    engine: Arc<Engine>,
}

impl Answers {
    /// Room for as many answers as may be asked for at a time.
    pub(super) fn channel(engine: &Arc<Engine>, room: usize) -> (mpsc::Sender<Answer>, Self) {
        let (sender, receiver) = mpsc::channel(room);
        (sender, Self { receiver, engine: Arc::clone(engine) })
    }

    /// Adds up to `most` answers to `taken`; see [`mpsc::Receiver::recv_many`].
    pub(super) async fn recv_many(&mut self, taken: &mut Vec<Answer>, most: usize) -> usize {
        self.receiver.recv_many(taken, most).await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // Closed before the engine looks: whoever is queued later finds it closed.
        self.receiver.close();
        if self.receiver.sender_strong_count() > 0 {
            self.engine.let_go();
        }
    }
}
