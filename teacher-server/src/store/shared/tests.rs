//! Against a real `redis-server`; where there is none, each test says that it is skipped.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::store::{Store, StoreConfig};

/// A `redis-server` of this test alone, which keeps nothing on disk.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// `None`, and a line about it, where the program is missing.
    async fn start() -> Option<Self> {
        Self::start_at(free_port()).await
    }

    async fn start_at(port: u16) -> Option<Self> {
        let args = format!("--port {port} --bind 127.0.0.1 --appendonly no");
        let spawned = Command::new("redis-server")
            .args(args.split(' '))
            .args(["--save", ""])
            .stdout(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(cause) => {
                eprintln!("skipped: cannot start redis-server: {cause}");
                return None;
            }
        };
        let mut redis = Self { child, port };
        while redis.try_connect().await.is_none() {
            assert_eq!(redis.child.try_wait().unwrap(), None, "redis-server ended at once");
            tokio::task::yield_now().await;
        }
        Some(redis)
    }

    fn url(&self) -> SharedUrl {
        format!("redis://127.0.0.1:{}", self.port).parse().unwrap()
    }

    async fn store(&self, fingerprint: &str) -> SharedStore {
        open(&self.url(), fingerprint, 3, true).await
    }

    async fn try_connect(&self) -> Option<redis::aio::MultiplexedConnection> {
        self.url().client().get_multiplexed_async_connection().await.ok()
    }

    /// Asks Redis itself.
    async fn ask<T: redis::FromRedisValue>(&self, command: &str, args: &[&[u8]]) -> T {
        let mut connection = self.try_connect().await.unwrap();
        redis::cmd(command).arg(args).query_async(&mut connection).await.unwrap()
    }

    fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn open(url: &SharedUrl, fingerprint: &str, classes: usize, there: bool) -> SharedStore {
    let store = SharedStore::open(url, &fingerprint.repeat(64).parse().unwrap(), classes);
    store.shared.link.until(there).await;
    store
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn content(n: usize) -> ContentHash {
    ContentHash::new(&n.to_string(), None)
}

fn row(n: usize) -> Row {
    let n_ = n as f32;
    let variance = (n % 2 == 1).then(|| [0.0, n_, 0.5].into());
    Row {
        content: content(n),
        logits: [n_, -n_, 0.25].into(),
        variance,
        truncated: n.is_multiple_of(3),
    }
}

async fn write(store: &SharedStore, rows: impl IntoIterator<Item = usize>) {
    for n in rows {
        store.insert(&row(n));
    }
    store.flush().await;
}

#[tokio::test]
async fn rows_of_one_server_are_read_by_another() {
    let Some(redis) = Redis::start().await else { return };
    let (first, second) = (redis.store("a").await, redis.store("a").await);
    write(&first, 0..1000).await;
    let asked: Vec<_> = (990..1010).map(content).collect();
    let found = second.get(&asked).await;
    let expected: Vec<_> = (990..1010).map(|n| (n < 1000).then(|| row(n))).collect();
    assert_eq!(found, expected);
    assert_eq!(second.get(&[]).await, []);
    let written = SharedCounts { written: 1000, connected: true, ..SharedCounts::default() };
    let read = SharedCounts { hits: 10, misses: 10, connected: true, ..SharedCounts::default() };
    assert_eq!((first.counts(), second.counts()), (written, read));
}

#[tokio::test]
async fn teachers_with_other_fingerprints_do_not_see_each_others_rows() {
    let Some(redis) = Redis::start().await else { return };
    let (a, b) = (redis.store("a").await, redis.store("b").await);
    write(&a, 0..1).await;
    assert_eq!(b.get(&[content(0)]).await, [None]);
    assert_eq!(a.get(&[content(0)]).await, [Some(row(0))]);
    let key = format!("lectern:1:{}:{}", "a".repeat(32), content(0));
    assert_eq!(redis.ask::<Vec<String>>("KEYS", &[b"*"]).await, [key]);
}

#[tokio::test]
async fn of_two_rows_for_a_content_the_first_one_stays() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    write(&store, [1]).await;
    store.insert(&Row { logits: [9.0, 9.0, 9.0].into(), ..row(1) });
    store.flush().await;
    assert_eq!(store.get(&[content(1)]).await, [Some(row(1))]);
}

#[tokio::test]
async fn a_record_that_is_not_whole_is_unknown_and_may_be_written_again() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    write(&store, [1, 2, 3, 4]).await;
    let key = |n| store.shared.key(content(n)).into_bytes();
    let whole: Vec<u8> = redis.ask("GET", &[&key(1)]).await;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let () = redis.ask("SET", &[&key(1), &flipped]).await;
    let () = redis.ask("SET", &[&key(2), &whole[..whole.len() - 1]]).await;
    // A whole record, of another content.
    let () = redis.ask("SET", &[&key(3), &whole]).await;
    let () = redis.ask("SET", &[&key(4), b""]).await;
    let asked = [1, 2, 3, 4].map(content);
    assert_eq!(store.get(&asked).await, [None, None, None, None]);
    assert_eq!(store.counts().corrupt, 4);
    write(&store, [1, 2, 3, 4]).await;
    assert_eq!(store.get(&asked).await, [1, 2, 3, 4].map(|n| Some(row(n))));
}

#[tokio::test]
async fn rows_of_another_number_of_classes_are_unknown() {
    let Some(redis) = Redis::start().await else { return };
    write(&redis.store("a").await, [1]).await;
    let store = open(&redis.url(), "a", 4, true).await;
    assert_eq!(store.get(&[content(1)]).await, [None]);
    assert_eq!(store.counts().corrupt, 1);
}

#[tokio::test]
async fn a_redis_that_dies_is_done_without_and_used_again_when_it_is_back() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    write(&store, 0..4).await;
    let port = redis.port;
    drop(redis);

    let asked = [0, 1].map(content);
    for _ in 0..3 {
        assert_eq!(store.get(&asked).await, [None, None]);
    }
    write(&store, 4..10).await;
    let SharedCounts { misses, errors, dropped, connected, .. } = store.counts();
    // Only the first lookup tried; the others found the connection gone.
    assert_eq!((misses, errors, dropped, connected), (6, 1, 6, false));

    let Some(_redis) = Redis::start_at(port).await else { return };
    store.shared.link.until(true).await;
    write(&store, 0..4).await;
    assert_eq!(store.get(&asked).await, [0, 1].map(|n| Some(row(n))));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_gone_after_one_timeout() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    write(&store, 0..2).await;
    redis.signal("-STOP");
    assert_eq!(store.get(&[content(0)]).await, [None]);
    assert!(!store.counts().connected);
    redis.signal("-CONT");
    store.shared.link.until(true).await;
    assert_eq!(store.get(&[content(0)]).await, [Some(row(0))]);
}

#[tokio::test]
async fn a_server_starts_without_its_redis_and_finds_it_later() {
    let port = free_port();
    let url: SharedUrl = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let store = open(&url, "a", 3, false).await;
    write(&store, [1]).await;
    assert_eq!(store.get(&[content(1)]).await, [None]);
    let away = SharedCounts { misses: 1, dropped: 1, ..SharedCounts::default() };
    assert_eq!(store.counts(), away);
    let Some(_redis) = Redis::start_at(port).await else { return };
    store.shared.link.until(true).await;
    write(&store, [1]).await;
    assert_eq!(store.get(&[content(1)]).await, [Some(row(1))]);
}

#[tokio::test]
async fn rows_that_a_full_queue_cannot_take_are_left_out_and_counted() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    // On this test's one thread the writer does not run before the flush.
    write(&store, 0..QUEUED_ROWS + 10).await;
    let SharedCounts { written, dropped, .. } = store.counts();
    assert_eq!((written, dropped), (QUEUED_ROWS as u64, 10));
}

#[tokio::test]
async fn a_redis_that_is_full_refuses_rows_but_is_still_read() {
    let Some(redis) = Redis::start().await else { return };
    let store = redis.store("a").await;
    write(&store, [1]).await;
    let () = redis.ask("CONFIG", &[b"SET", b"maxmemory", b"1"]).await;
    write(&store, [2]).await;
    assert_eq!(store.get(&[1, 2].map(content)).await, [Some(row(1)), None]);
    let SharedCounts { dropped, errors, connected, .. } = store.counts();
    assert_eq!((dropped, errors, connected), (1, 1, true));
}

#[tokio::test]
async fn what_one_store_computes_another_finds_and_keeps() {
    let Some(redis) = Redis::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let card = crate::store::tests::card('a', 3);
    let config = |folder| StoreConfig {
        memory_bytes: 1 << 20,
        folder,
        shared: Some(redis.url()),
        ..StoreConfig::default()
    };
    let here = Store::open(&config(None), &card).unwrap();
    let there = Store::open(&config(Some(folder.path().to_owned())), &card).unwrap();
    for store in [&here, &there] {
        store.shared.as_ref().unwrap().shared.link.until(true).await;
    }
    let asked = [1, 2, 3].map(content);
    assert_eq!(there.shared(&asked).await, [None, None, None]);
    let insert = move || {
        here.insert(vec![row(1), row(2)]);
        here.flush();
        here.counts().shared.unwrap().written
    };
    assert_eq!(tokio::task::spawn_blocking(insert).await.unwrap(), 2);
    let found = [Some(row(1)), Some(row(2)), None];
    assert_eq!(there.shared(&asked).await, found);
    drop(redis);
    assert_eq!(there.in_memory(content(1)), Some(row(1)));
    let on_disk = move || {
        there.flush();
        there.on_disk(&asked)
    };
    assert_eq!(tokio::task::spawn_blocking(on_disk).await.unwrap(), found);
}
