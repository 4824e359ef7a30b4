//! temporary
use super::queue::Queue;
use std::{collections::HashMap, sync::Arc, time::Instant};
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokensPerSecond(pub f64);
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub weight: f64,
    pub quota: Option<TokensPerSecond>,
}
impl Default for Share {
    fn default() -> Self {
        Self { weight: 1.0, quota: None }
    }
}
#[derive(Debug)]
pub struct Policy {
    pub max_batch_tokens: usize,
    pub max_batch_examples: usize,
    pub shares: HashMap<String, Share>,
}
#[derive(Debug)]
pub struct Schedule<T> {
    queue: Queue<T>,
}
#[derive(Debug)]
pub enum Next<T> {
    Batch(Vec<T>),
    Wait(Instant),
    Empty,
}
impl<T> Schedule<T> {
    pub fn new(policy: Policy) -> Self {
        Self { queue: Queue::new(policy.max_batch_tokens) }
    }
    pub fn push(&mut self, _flow: &Arc<str>, tokens: usize, item: T, _now: Instant) {
        self.queue.push(tokens, item)
    }
    pub fn next_batch(&mut self, _now: Instant, mut wanted: impl FnMut(&T) -> bool) -> Next<T> {
        loop {
            if self.queue.is_empty() {
                return Next::Empty;
            }
            let batch: Vec<T> = self.queue.next_batch().into_iter().filter(|i| wanted(i)).collect();
            if !batch.is_empty() {
                return Next::Batch(batch);
            }
        }
    }
    pub fn queued(&self) -> Vec<(Arc<str>, usize, usize)> {
        Vec::new()
    }
}
