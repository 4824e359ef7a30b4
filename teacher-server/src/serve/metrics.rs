//! What operators watch, in the text format of `OpenMetrics`, which Prometheus reads. Everything is read
//! from the engine when it is asked for; nothing is counted twice.

use std::{
    fmt::Error,
    sync::{Arc, Weak},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, TypedMetric, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::engine::Engine;
use crate::store::{DiskCounts, StoreCounts, shared::SharedCounts};

/// The content type of what [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the engine does not know of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Tokens in one forward pass.
    pub(super) max_batch_tokens: usize,
    /// Operations a second of matrix products on one device.
    pub(super) peak_flops: f64,
}

/// All metrics of a server.
pub(super) fn registry(engine: &Arc<Engine>, measured: Measured) -> Registry {
    let mut registry = Registry::with_prefix("lectern");
    registry.register_collector(Box::new(Source { engine: Arc::downgrade(engine), measured }));
    registry
}

/// The metrics as text.
pub(super) fn render(registry: &Registry) -> Result<String, Error> {
    let mut page = String::new();
    text::encode(&mut page, registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Source {
    engine: Weak<Engine>,
    measured: Measured,
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(engine) = self.engine.upgrade() else { return Ok(()) };
        let mut page = Page(encoder);
        identity(&mut page, &engine)?;
        work(&mut page, &engine, self.measured)?;
        students(&mut page, &engine)?;
        store(&mut page, &engine.store().counts())
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, f64)>,
    ) -> Result<(), Error> {
        self.family(name, help, label, values, ConstCounter::new)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, f64)>,
    ) -> Result<(), Error> {
        self.family(name, help, label, values, ConstGauge::new)
    }

    /// A metric with a value for each value of its label.
    fn family<'l, M: EncodeMetric + TypedMetric>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, f64)>,
        metric_of: fn(f64) -> M,
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, M::TYPE)?;
        for (which, value) in values {
            metric_of(value).encode(metric.encode_family(&[(label, which)])?)?;
        }
        Ok(())
    }
}

fn identity(page: &mut Page<'_>, engine: &Engine) -> Result<(), Error> {
    let card = engine.card();
    let mut metric = page.0.encode_descriptor(
        "teacher",
        "The teacher served; always 1",
        None,
        MetricType::Gauge,
    )?;
    let labels = vec![
        ("name", card.name.as_str()),
        ("fingerprint", card.fingerprint.as_str()),
        ("arithmetic", card.arithmetic.as_str()),
    ];
    ConstGauge::new(1i64).encode(metric.encode_family(&labels)?)
}

fn work(page: &mut Page<'_>, engine: &Engine, measured: Measured) -> Result<(), Error> {
    let totals = engine.totals();
    let sources = [
        ("computed", totals.computed as f64),
        ("joined", totals.joined as f64),
        ("memory", totals.from_memory as f64),
        ("disk", totals.from_disk as f64),
        ("shared", totals.from_shared as f64),
    ];
    page.counters("examples", "Examples by where their row came from", "source", sources)?;
    page.counter("answers", "Rows and failures given", totals.answered as f64)?;
    let help = "Examples that nobody waited for any more, dropped before they were computed";
    page.counter("dropped", help, totals.dropped as f64)?;
    let help = "Unary calls refused as too much was queued";
    page.counter("refused_calls", help, totals.refused as f64)?;
    page.counter("batches", "Forward passes", totals.batches as f64)?;
    let padding = totals.padded_tokens.saturating_sub(totals.tokens) as f64;
    let tokens = [("text", totals.tokens as f64), ("padding", padding)];
    page.counters("tokens", "Tokens computed", "kind", tokens)?;
    let help = "Share of the tokens computed that was padding";
    page.gauge("padding_share", help, totals.padding_share())?;
    let room = totals.batches as f64 * measured.max_batch_tokens as f64;
    let help = "Tokens of the average forward pass, of those it may have";
    page.gauge("batch_fill", help, totals.padded_tokens as f64 / room.max(1.0))?;
    let stages = [
        ("waiting", totals.waiting.as_secs_f64()),
        ("tokenising", totals.tokenising.as_secs_f64()),
        ("computing", totals.computing.as_secs_f64()),
        ("encoding", totals.encoding.as_secs_f64()),
    ];
    let help = "Time by stage, added up over examples (waiting), threads and devices";
    page.counters("stage_seconds", help, "stage", stages)?;
    page.counter("forward_flops", "Operations of matrix products", totals.flops)?;
    let help = "Operations a second of plain matrix products, measured at start-up";
    page.gauge("peak_flops", help, measured.peak_flops)?;
    let help = "Operations a second of a forward pass, of the peak measured on its threads";
    page.gauge("share_of_peak", help, totals.share_of_peak(measured.peak_flops))?;
    let help = "Stored rows computed again to be compared";
    page.counter("verified_rows", help, totals.verified as f64)?;
    let help = "Stored rows that differed beyond the tolerance: alarm on any";
    page.counter("mismatched_rows", help, totals.mismatched as f64)
}

fn students(page: &mut Page<'_>, engine: &Engine) -> Result<(), Error> {
    const BY: &str = "experiment";
    let queues = engine.queues();
    let examples = queues.iter().map(|(name, examples, _)| (&**name, *examples as f64));
    page.gauges("queue_examples", "Examples in the queue", BY, examples)?;
    let tokens = queues.iter().map(|(name, _, tokens)| (&**name, *tokens as f64));
    page.gauges("queue_tokens", "Tokens in the queue", BY, tokens)?;
    let students = engine.students.read();
    let streams = students.iter().map(|s| (&*s.experiment, s.streams as f64));
    page.gauges("streams", "Streams open", BY, streams)?;
    let credits = students.iter().map(|s| (&*s.experiment, s.in_flight as f64));
    page.gauges("credits_in_use", "Examples in flight", BY, credits)?;
    let rows = students.iter().map(|s| (&*s.experiment, s.rows as f64));
    let help = "Rows and failures given to the streams open now and those before them";
    page.counters("student_rows", help, BY, rows)
}

fn store(page: &mut Page<'_>, counts: &StoreCounts) -> Result<(), Error> {
    const BY: &str = "tier";
    let (disk, shared) = (counts.disk, counts.shared);
    let memory = ("memory", counts.memory_rows as f64);
    let rows = [Some(memory), disk.map(|disk| ("disk", disk.rows as f64))];
    page.gauges("store_rows", "Rows in the store", BY, rows.into_iter().flatten())?;
    let memory = ("memory", counts.memory_bytes as f64);
    let bytes = [Some(memory), disk.map(|disk| ("disk", disk.bytes as f64))];
    page.gauges("store_bytes", "Bytes of the store", BY, bytes.into_iter().flatten())?;
    let tiers = |of_disk: fn(DiskCounts) -> u64, of_shared: fn(SharedCounts) -> u64| {
        let disk = disk.map(|disk| ("disk", of_disk(disk) as f64));
        let shared = shared.map(|shared| ("shared", of_shared(shared) as f64));
        [disk, shared].into_iter().flatten()
    };
    let written = tiers(|disk| disk.written, |shared| shared.written);
    page.counters("store_written_rows", "Rows written", BY, written)?;
    let help = "Rows left out because the tier was too slow, full or failed";
    page.counters("store_dropped_rows", help, BY, tiers(|disk| disk.dropped, |s| s.dropped))?;
    let help = "Records not believed: their checksum or shape is wrong";
    page.counters("store_corrupt_rows", help, BY, tiers(|disk| disk.corrupt, |s| s.corrupt))?;
    let help = "Requests to the tier that failed";
    page.counters("store_errors", help, BY, tiers(|disk| disk.errors, |s| s.errors))?;
    let connected = shared.map(|shared| ("shared", f64::from(u8::from(shared.connected))));
    page.gauges("store_connected", "Whether the shared tier is there", BY, connected)
}
