//! The client of stored rows as a process of its own, so that it can be held to one core.

use std::{
    io::{self, BufRead as _},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, Texts},
    headlines::Headlines,
};

/// What this program's first argument says when it is to be this client.
pub(crate) const ROLE: &str = "be-a-client";

/// Examples in a message.
pub(crate) const BATCH: usize = 64;

/// What to ask whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) url: String,
    /// Of the headlines.
    pub(crate) seed: u64,
    pub(crate) texts: usize,
    /// How long a turn lasts.
    pub(crate) turn: Duration,
}

/// One turn.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) examples: u64,
    pub(crate) seconds: f64,
    /// Received from the server.
    pub(crate) bytes: u64,
}

/// The role: asks for every text once, says so, then for each line of input asks for them round and
/// round with all its credits for one turn.
#[expect(clippy::print_stdout, reason = "the role's answers")]
pub(crate) fn serve(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let texts = Arc::new(Texts::new(Headlines::seeded(task.seed).take(task.texts)));
        let url = task.url.parse()?;
        let mut client = Client::open(&url, "stored", Arc::clone(&texts)).await?;
        println!("{}", serde_json::to_string(&once(&mut client, texts.len()).await?)?);
        for line in io::stdin().lock().lines() {
            line?;
            println!("{}", serde_json::to_string(&turn(&mut client, task.turn).await?)?);
        }
        println!("null");
        Ok(())
    })
}

/// Every text once.
async fn once(client: &mut Client, texts: usize) -> Result<Turn> {
    let (start, before) = (Instant::now(), client.received());
    let mut asked = 0;
    while asked < texts {
        if client.open_examples() + BATCH > client.credits {
            client.rows().await?;
        } else {
            let n = BATCH.min(texts - asked);
            client.ask(n).await?;
            asked += n;
        }
    }
    client.settle().await?;
    Ok(Turn {
        examples: texts as u64,
        seconds: start.elapsed().as_secs_f64(),
        bytes: client.received() - before,
    })
}

async fn turn(client: &mut Client, length: Duration) -> Result<Turn> {
    let (start, before) = (Instant::now(), client.received());
    let mut examples = 0;
    while start.elapsed() < length {
        client.fill(BATCH).await?;
        examples += client.rows().await? as u64;
    }
    let left = client.open_examples() as u64;
    client.settle().await?;
    Ok(Turn {
        examples: examples + left,
        seconds: start.elapsed().as_secs_f64(),
        bytes: client.received() - before,
    })
}
