//! Bytes of answer for a row of 5 classes in float32, as they come out of the socket: ids, content
//! hashes, checksum, message and HTTP/2 framing. A student with one batch of 64 in flight.

use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use crate::{
    Bench,
    client::{Client, Texts},
    headlines::Headlines,
    measures::at_most,
    models::TINY,
    server::{Server, Task},
    stored_client::BATCH,
};

const TEXTS: usize = 16_384;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let server = Server::start(&Task {
        store_bytes: 64 << 20,
        ..Task::cold(TINY.folder()?, bench.threads)
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bytes = runtime.block_on(async {
        let texts = Arc::new(Texts::new(Headlines::seeded(3).take(TEXTS)));
        let mut client = Client::open(server.url(), "wire", texts).await?;
        // Once to compute them; after that answers come whole, and ids are as long as in a run.
        client.ask_in_turn(TEXTS / BATCH, BATCH).await?;
        let before = client.received();
        client.ask_in_turn(TEXTS / BATCH, BATCH).await?;
        anyhow::Ok(client.received() - before)
    })?;
    server.stop()?;
    let per_row = bytes as f64 / TEXTS as f64;
    println!("{bytes} bytes for {TEXTS} rows of 5 classes");
    Ok(vec![at_most("bytes_per_row_on_the_wire", per_row, "bytes", 40.0)])
}
