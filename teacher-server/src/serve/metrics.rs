//! What operators watch, in the text format of OpenMetrics, which Prometheus reads. Everything is read
//! from the engine when it is asked for; nothing is counted twice.

use std::{
    fmt::Error,
    sync::{Arc, Weak},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::engine::Engine;
use crate::store::StoreCounts;

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

/// One label and its value; none for a metric without.
type Label<'a> = Option<(&'static str, &'a str)>;

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, f64)>,
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in values {
            let labels: Vec<_> = label.into_iter().collect();
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, f64)>,
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in values {
            let labels: Vec<_> = label.into_iter().collect();
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
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
    let by = |key, value| Some((key, value));
    page.counters(
        "examples",
        "Examples by where their row came from",
        [
            (by("source", "computed"), totals.computed as f64),
            (by("source", "joined"), totals.joined as f64),
            (by("source", "memory"), totals.from_memory as f64),
            (by("source", "disk"), totals.from_disk as f64),
            (by("source", "shared"), totals.from_shared as f64),
        ],
    )?;
    page.counters("answers", "Rows and failures given", [(None, totals.answered as f64)])?;
    page.counters(
        "dropped",
        "Examples that nobody waited for any more, dropped before they were computed",
        [(None, totals.dropped as f64)],
    )?;
    page.counters(
        "refused_calls",
        "Unary calls refused as too much was queued",
        [(None, totals.refused as f64)],
    )?;
    page.counters("batches", "Forward passes", [(None, totals.batches as f64)])?;
    let padding = totals.padded_tokens.saturating_sub(totals.tokens);
    page.counters(
        "tokens",
        "Tokens computed",
        [(by("kind", "text"), totals.tokens as f64), (by("kind", "padding"), padding as f64)],
    )?;
    page.gauges(
        "padding_share",
        "Share of the tokens computed that was padding",
        [(None, totals.padding_share())],
    )?;
    let room = totals.batches as f64 * measured.max_batch_tokens as f64;
    page.gauges(
        "batch_fill",
        "Tokens of the average forward pass, of those it may have",
        [(None, totals.padded_tokens as f64 / room.max(1.0))],
    )?;
    page.counters(
        "stage_seconds",
        "Time by stage, added up over examples (waiting), threads and devices",
        [
            (by("stage", "waiting"), totals.waiting.as_secs_f64()),
            (by("stage", "tokenising"), totals.tokenising.as_secs_f64()),
            (by("stage", "computing"), totals.computing.as_secs_f64()),
            (by("stage", "encoding"), totals.encoding.as_secs_f64()),
        ],
    )?;
    page.counters("forward_flops", "Operations of matrix products", [(None, totals.flops)])?;
    page.gauges(
        "peak_flops",
        "Operations a second of plain matrix products, measured at start-up",
        [(None, measured.peak_flops)],
    )?;
    page.gauges(
        "share_of_peak",
        "Operations a second while computing, of the measured peak",
        [(None, totals.share_of_peak(measured.peak_flops))],
    )?;
    page.counters(
        "verified_rows",
        "Stored rows computed again to be compared",
        [(None, totals.verified as f64)],
    )?;
    page.counters(
        "mismatched_rows",
        "Stored rows that differed beyond the tolerance: alarm on any",
        [(None, totals.mismatched as f64)],
    )
}

fn students(page: &mut Page<'_>, engine: &Engine) -> Result<(), Error> {
    let queues = engine.queues();
    let students = engine.students.read();
    let key = "experiment";
    page.gauges(
        "queue_examples",
        "Examples in the queue",
        queues.iter().map(|(name, examples, _)| (Some((key, &**name)), *examples as f64)),
    )?;
    page.gauges(
        "queue_tokens",
        "Tokens in the queue",
        queues.iter().map(|(name, _, tokens)| (Some((key, &**name)), *tokens as f64)),
    )?;
    page.gauges(
        "streams",
        "Streams open",
        students.iter().map(|s| (Some((key, &*s.experiment)), s.streams as f64)),
    )?;
    page.gauges(
        "credits_in_use",
        "Examples in flight",
        students.iter().map(|s| (Some((key, &*s.experiment)), s.in_flight as f64)),
    )?;
    page.counters(
        "student_rows",
        "Rows and failures given, by experiment, since its first open stream",
        students.iter().map(|s| (Some((key, &*s.experiment)), s.rows as f64)),
    )
}

fn store(page: &mut Page<'_>, counts: &StoreCounts) -> Result<(), Error> {
    let _ = (page, counts);
    Ok(())
}
