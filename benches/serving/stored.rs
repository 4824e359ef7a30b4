//! Rows that are already stored: how many a second over loopback gRPC when the server has one core and
//! the client another, what a row costs each side, and where that goes.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::{
    Bench,
    common::{folder, median},
    costs,
    dialogue::Dialogue,
    measures::{at_least, plain},
    models::TINY,
    process::CpuTime,
    server::{Server, Task},
    stored_client::{self, Turn},
};

/// As many as a mid-sized training set has, so that rows do not all lie in the processor's caches.
const TEXTS: usize = 65_536;
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// A tier and what is asked of it.
struct Tier {
    name: &'static str,
    target: f64,
    store_bytes: u64,
    on_disk: bool,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    if bench.threads < 2 {
        println!("not measured: a server and a client with a core each need two cores");
        return Ok(Vec::new());
    }
    let costs = costs::measure();
    let mut measures = Vec::new();
    for tier in [
        Tier { name: "memory", target: 300_000.0, store_bytes: 256 << 20, on_disk: false },
        Tier { name: "disk", target: 100_000.0, store_bytes: 0, on_disk: true },
    ] {
        measures.extend(tier.run(bench, &costs)?);
    }
    Ok(measures)
}

impl Tier {
    fn run(&self, bench: &Bench, costs: &costs::Costs) -> Result<Vec<Value>> {
        // Who computed a row makes no difference to one that is stored.
        let folder = tempfile::tempdir_in(folder())?;
        let server = Server::start(&Task {
            store_bytes: self.store_bytes,
            rows: self.on_disk.then(|| folder.path().to_owned()),
            core: Some(SERVER_CORE),
            ..Task::cold(TINY.folder()?, 1)
        })?;
        let task = stored_client::Task {
            url: server.url().to_string(),
            seed: 7,
            texts: TEXTS,
            turn: Duration::from_secs(if bench.quick { 1 } else { 4 }),
        };
        let task = serde_json::to_string(&task)?;
        let mut client =
            Dialogue::with_myself(stored_client::ROLE, &task, Some(CLIENT_CORE), Vec::new())?;
        let filled: Turn = client.hear()?;
        println!("{TEXTS} rows computed and stored at {:.0}/s", TEXTS as f64 / filled.seconds);

        let (mut rates, mut server_costs, mut client_costs) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..=bench.turns {
            let used = || Ok((CpuTime::of(server.id())?, CpuTime::of(client.id())?));
            let before: Result<_> = used();
            let before = before?;
            let done: Turn = client.ask("run")?;
            let after = (CpuTime::of(server.id())?, CpuTime::of(client.id())?);
            if turn > 0 {
                let n = done.examples as f64;
                rates.push(n / done.seconds);
                server_costs.push(Share::of(after.0 - before.0, n));
                client_costs.push(Share::of(after.1 - before.1, n));
            }
        }
        client.end::<()>()?;
        let computed = server.stop()?.computed;
        println!(
            "{} tier: examples/s {rates:.0?}; {computed} computed for {TEXTS} texts",
            self.name
        );
        let (on_server, on_client) = (Share::median(&server_costs), Share::median(&client_costs));
        on_server.print("server", &costs.server);
        on_client.print("client", &costs.client);
        let slower = on_server.total().max(on_client.total());
        println!("cores that did nothing else would reach {:.0} examples/s", 1e6 / slower);
        let metric = |what: &str| format!("stored_{}_{what}", self.name);
        Ok(vec![
            at_least(&metric("examples_per_second"), median(&rates), "examples/s", self.target),
            plain(&metric("server_cpu_us"), on_server.total(), "µs/example"),
            plain(&metric("client_cpu_us"), on_client.total(), "µs/example"),
        ])
    }
}

/// Microseconds of one core for an example.
#[derive(Debug, Clone, Copy)]
struct Share {
    user: f64,
    system: f64,
}

impl Share {
    fn of(used: CpuTime, examples: f64) -> Self {
        Self { user: 1e6 * used.user / examples, system: 1e6 * used.system / examples }
    }

    fn median(shares: &[Self]) -> Self {
        let middle = |part: fn(&Self) -> f64| median(&shares.iter().map(part).collect::<Vec<_>>());
        Self { user: middle(|share| share.user), system: middle(|share| share.system) }
    }

    fn total(self) -> f64 {
        self.user + self.system
    }

    fn print(self, side: &str, parts: &[(&str, f64)]) {
        let Self { user, system } = self;
        println!(
            "{side}: {:.2} µs of core an example, {user:.2} user, {system:.2} system",
            self.total()
        );
        for (part, cost) in parts {
            println!("  {cost:6.2}  {part}");
        }
        let rest = user - parts.iter().map(|(_, cost)| cost).sum::<f64>();
        println!("  {rest:6.2}  the rest of user: look-up, credits, HTTP/2, channels and tasks");
        println!("  {system:6.2}  system: sockets and waking");
    }
}
