//! All that is made of a training set, each text once.

use std::{collections::HashSet, num::NonZeroUsize, thread};

use super::{
    Augmentation, TaggedText, Unigrams, chance::chance_of, sample::Sampler, suffixes::Suffixes,
    tagger::tag,
};
use crate::{data::Example, wire::ContentHash};

/// A text that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmented {
    /// Without a target.
    pub example: Example,
    /// Index of the example it was made of.
    pub of: usize,
}

/// Makes up to [`Augmentation::samples`] texts of each example, in the order of the examples. What is equal to an
/// example or was made before is dropped.
///
/// Draws depend on the seed and on the example's texts; words that take another's place are drawn from all `examples`.
pub fn augment(
    examples: &[Example],
    settings: &Augmentation,
    threads: NonZeroUsize,
) -> Vec<Augmented> {
    let mut texts = in_parallel(examples, threads, |example| {
        (tag(example.text.clone()), example.text_pair.clone().map(tag))
    });
    let all = || texts.iter().flat_map(|(text, pair)| std::iter::once(text).chain(pair));
    let suffixes = Suffixes::of(all());
    for (text, pair) in &mut texts {
        suffixes.guess(text);
        if let Some(pair) = pair {
            suffixes.guess(pair);
        }
    }
    let all = || texts.iter().flat_map(|(text, pair)| std::iter::once(text).chain(pair));
    let unigrams = Unigrams::count(all());
    let sampler = Sampler { settings, unigrams: &unigrams };
    let made = in_parallel(&texts, threads, |(text, pair)| samples(sampler, text, pair.as_ref()));

    let content = |e: &Example| ContentHash::new(&e.text, e.text_pair.as_deref());
    let mut seen: HashSet<ContentHash> = examples.iter().map(content).collect();
    let made = made.into_iter().enumerate();
    made.flat_map(|(of, made)| made.into_iter().map(move |example| Augmented { example, of }))
        .filter(|made| seen.insert(content(&made.example)))
        .collect()
}

fn samples(sampler: Sampler<'_>, text: &TaggedText, pair: Option<&TaggedText>) -> Vec<Example> {
    let content = ContentHash::new(&text.text, pair.map(|pair| pair.text.as_str()));
    let mut chance = chance_of(sampler.settings.seed, content);
    let turns = 0..sampler.settings.samples;
    turns
        .map(|turn| sampler.vary_example((text, pair), turn, &mut chance))
        .map(|(text, text_pair)| Example { text, text_pair, target: None })
        .collect()
}

/// `work` of each item, in order.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: NonZeroUsize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let part = items.len().div_ceil(threads.get()).max(1);
    thread::scope(|scope| {
        let work = &work;
        let parts: Vec<_> = items
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    })
}
