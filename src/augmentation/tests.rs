//! What is made of texts: by hand with a list of draws, and by its statistics.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
};

use super::{chance::Chance, sample::Sampler, *};
use crate::data::{Example, Target};

/// Draws in the order they are to be made; those of `below` with the bound that is expected.
#[derive(Clone)]
enum Draw {
    Uniform(f64),
    Below(u64, u64),
}
use Draw::{Below, Uniform};

struct Draws(std::vec::IntoIter<Draw>);

impl Chance for Draws {
    fn uniform(&mut self) -> f64 {
        let Some(Uniform(drawn)) = self.0.next() else { panic!("no uniform draw is due") };
        drawn
    }

    fn below(&mut self, bound: u64) -> u64 {
        let Some(Below(expected, drawn)) = self.0.next() else { panic!("no choice is due") };
        assert_eq!(bound, expected);
        drawn
    }
}

/// Words between spaces, each with the tag after its slash, `-` for none.
fn tagged(text: &str) -> TaggedText {
    let mut made = TaggedText { text: String::new(), words: Vec::new() };
    for (index, part) in text.split(' ').enumerate() {
        made.text.push_str(if index == 0 { "" } else { " " });
        let Some((word, tag)) = part.rsplit_once('/') else { continue };
        let start = made.text.len();
        made.text.push_str(word);
        let tag = PartOfSpeech::new(tag).filter(|tag| tag.name() != "-");
        made.words.push(Word { start, end: made.text.len(), tag });
    }
    made
}

const PAPER: Augmentation = Augmentation {
    samples: 20,
    mask: 0.1,
    replace: 0.1,
    ngram: 0.25,
    mask_token: String::new(),
    seed: 1,
};

fn masking() -> Augmentation {
    Augmentation { mask_token: "[MASK]".to_owned(), ..PAPER }
}

/// What is made of `text`, whose words are all there is to put in the places of others, with all these draws.
fn made(text: &str, draws: Vec<Draw>) -> String {
    let text = tagged(text);
    let unigrams = Unigrams::count([&text].into_iter());
    let mut draws = Draws(draws.into_iter());
    let made = Sampler { settings: &masking(), unigrams: &unigrams }.vary(&text, &mut draws);
    assert!(draws.0.next().is_none(), "fewer draws than expected");
    made
}

#[test]
fn the_defaults_are_the_papers() {
    assert_eq!(Augmentation::default(), masking());
}

#[test]
fn each_draw_does_what_the_paper_says() {
    // Below 0.1 hides, below 0.2 exchanges, anything else keeps; 0.25 is no n-gram any more.
    let keep = || Uniform(0.2);
    let whole = || Uniform(0.25);
    let text = "a/DET good/ADJ film/NOUN";
    assert_eq!(made(text, vec![keep(), keep(), keep(), whole()]), "a good film");
    assert_eq!(
        made(text, vec![Uniform(0.0), keep(), Uniform(0.09), whole()]),
        "[MASK] good [MASK]"
    );
    // Each is the only one of its kind, so there is no other to choose.
    assert_eq!(made(text, vec![Uniform(0.1), keep(), Uniform(0.19), whole()]), "a good film");

    // Nouns in alphabetical order: cast, film three times, plot twice. Others than "film" are three occurrences.
    let text = "film/NOUN film/NOUN plot/NOUN of/ADP film/NOUN cast/NOUN plot/NOUN";
    for (drawn, word) in [(0, "cast"), (1, "plot"), (2, "plot")] {
        let mut draws = vec![Uniform(0.15), Below(3, drawn)];
        draws.extend((0..6).map(|_| keep()));
        draws.push(whole());
        assert_eq!(made(text, draws), format!("{word} film plot of film cast plot"));
    }
    // Others than "plot": cast once, then film three times.
    for (drawn, word) in [(0, "cast"), (1, "film"), (3, "film")] {
        let mut draws = vec![keep(), keep(), Uniform(0.1), Below(4, drawn)];
        draws.extend((0..4).map(|_| keep()));
        draws.push(whole());
        assert_eq!(made(text, draws), format!("film film {word} of film cast plot"));
    }
    // A word without a tag stays.
    let draws = vec![Uniform(0.15), keep(), whole()];
    assert_eq!(made("zq/- film/NOUN", draws), "zq film");
}

#[test]
fn an_ngram_is_all_that_is_kept() {
    let text = "a/DET very/ADV good/ADJ film/NOUN";
    let cut = |length: u64, bound, first| {
        let mut draws: Vec<Draw> = (0..4).map(|_| Uniform(0.9)).collect();
        draws.extend([Uniform(0.24), Below(5, length - 1), Below(bound, first)]);
        made(text, draws)
    };
    assert_eq!(cut(1, 4, 3), "film");
    assert_eq!(cut(2, 3, 1), "very good");
    assert_eq!(cut(3, 2, 0), "a very good");
    // All of it, for it has only four words.
    assert_eq!(cut(5, 1, 0), "a very good film");
    // Of what was made of the words.
    let draws = vec![
        Uniform(0.9),
        Uniform(0.05),
        Uniform(0.9),
        Uniform(0.9),
        Uniform(0.0),
        Below(5, 1),
        Below(3, 1),
    ];
    assert_eq!(made(text, draws), "[MASK] good");
}

#[test]
fn spacing_is_kept_as_it_was() {
    let settings = Augmentation { ngram: 0.0, mask: 1.0, replace: 0.0, ..masking() };
    let vary = |text: &str| {
        let (text, unigrams) = (tag(text.to_owned()), Unigrams::default());
        let sampler = Sampler { settings: &settings, unigrams: &unigrams };
        sampler.vary(&text, &mut Draws(vec![Uniform(0.5); text.words.len() + 1].into_iter()))
    };
    assert_eq!(vary("it 's not good ."), "[MASK] [MASK] [MASK] [MASK] [MASK]");
    assert_eq!(vary("  Good,  isn't\tit?"), "[MASK][MASK]  [MASK]\t[MASK][MASK]");
    assert_eq!(vary("我爱北京"), "[MASK][MASK][MASK]");
    assert_eq!(vary("在 iPhone上"), "[MASK] [MASK][MASK]");
}

#[test]
fn of_pairs_the_first_the_second_and_both_are_varied_in_turns() {
    let settings = Augmentation { mask: 1.0, replace: 0.0, ngram: 0.0, ..masking() };
    let unigrams = Unigrams::default();
    let sampler = Sampler { settings: &settings, unigrams: &unigrams };
    let (first, second) = (tagged("one/NUM"), tagged("two/NUM"));
    let both = |turn| {
        let mut draws = Draws(vec![Uniform(0.5); 4].into_iter());
        let (text, pair) = sampler.vary_example((&first, Some(&second)), turn, &mut draws);
        (text, pair.unwrap())
    };
    let expected = [("[MASK]", "two"), ("one", "[MASK]"), ("[MASK]", "[MASK]")];
    for turn in 0..6 {
        let (text, pair) = both(turn);
        assert_eq!((text.as_str(), pair.as_str()), expected[turn % 3], "turn {turn}");
    }
}

fn example(text: &str) -> Example {
    Example { text: text.to_owned(), text_pair: None, target: Some(Target::Label(0)) }
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Sentences of ten words.
fn sentences(count: usize) -> Vec<Example> {
    let words = ["the", "old", "film", "actor", "sang", "loved", "it", "badly", ",", "."];
    let words = |i: usize| (0..10).map(move |at| words[(i * (at + 1) + i / 10 + at * at) % 10]);
    (0..count).map(|i| example(&words(i).collect::<Vec<_>>().join(" "))).collect()
}

#[test]
fn shares_are_those_of_the_settings() {
    let settings = Augmentation { ngram: 0.0, ..masking() };
    // Two nouns, 30 times and 10, and one word that cannot be another.
    let text = tagged(&[vec!["film/NOUN"; 30], vec!["plot/NOUN"; 10]].concat().join(" "));
    let third = tagged("cast/NOUN");
    let unigrams = Unigrams::count([&text, &third].into_iter());
    let sampler = Sampler { settings: &settings, unigrams: &unigrams };
    let mut chance = super::chance::chance_of(7, crate::wire::ContentHash::from_bytes([1; 16]));
    let mut counts: BTreeMap<(String, String), f64> = BTreeMap::new();
    for _ in 0..1000 {
        let made = sampler.vary(&text, &mut chance);
        for (at, word) in made.split(' ').enumerate() {
            *counts.entry((text.word(at).to_owned(), word.to_owned())).or_default() += 1.0;
        }
    }
    let within = |was: &str, is: &str, n: f64, p: f64| {
        let count = counts[&(was.to_owned(), is.to_owned())];
        let deviation = (n * p * (1.0 - p)).sqrt();
        // Four standard deviations of a binomial distribution, which one in 16,000 exceeds.
        assert!((count - n * p).abs() < 4.0 * deviation, "{was} to {is}: {count} of {n} at {p}");
    };
    within("film", "[MASK]", 30_000.0, 0.1);
    within("film", "film", 30_000.0, 0.8);
    // Of the words that are not "film", 10 of 11 occurrences are "plot".
    within("film", "plot", 30_000.0, 0.1 * 10.0 / 11.0);
    within("film", "cast", 30_000.0, 0.1 / 11.0);
    within("plot", "[MASK]", 10_000.0, 0.1);
    within("plot", "film", 10_000.0, 0.1 * 30.0 / 31.0);
    within("plot", "cast", 10_000.0, 0.1 / 31.0);
}

#[test]
fn a_quarter_are_ngrams_of_each_length_and_place_alike() {
    let settings = Augmentation { mask: 0.0, replace: 0.0, ..masking() };
    let text = tagged("a/N b/N c/N d/N e/N f/N g/N h/N");
    let unigrams = Unigrams::default();
    let sampler = Sampler { settings: &settings, unigrams: &unigrams };
    let mut chance = super::chance::chance_of(8, crate::wire::ContentHash::from_bytes([2; 16]));
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let n = 40_000.0;
    for _ in 0..40_000 {
        *counts.entry(sampler.vary(&text, &mut chance)).or_default() += 1.0;
    }
    let within = |count: f64, p: f64, what: &str| {
        let deviation = (n * p * (1.0_f64 - p)).sqrt();
        assert!((count - n * p).abs() < 4.5 * deviation, "{what}: {count} of {n} at {p}");
    };
    within(counts.remove("a b c d e f g h").unwrap(), 0.75, "whole");
    // 8 of one word, 7 of two, ... 4 of five.
    assert_eq!(counts.len(), 8 + 7 + 6 + 5 + 4);
    for (ngram, count) in counts {
        assert!(text.text.contains(&ngram), "{ngram}");
        let length = ngram.split(' ').count();
        within(count, 0.25 / 5.0 / (9 - length) as f64, &ngram);
    }
}

#[test]
fn an_ngram_is_a_part_of_the_text_as_it_was_written() {
    let settings = Augmentation { mask: 0.0, replace: 0.0, ngram: 1.0, ..masking() };
    let texts = [
        "It's  not good, is it?",
        "the film 's plot -- such as it is -- drags .",
        "我爱北京天安门，你呢？",
    ];
    let examples: Vec<Example> = texts.iter().map(|text| example(text)).collect();
    let made = augment(&examples, &settings, threads(1));
    assert!(made.len() > 30, "{}", made.len());
    for Augmented { example, of } in &made {
        assert!(texts[*of].contains(&example.text), "{:?}", example.text);
        let words = tag(texts[*of].to_owned());
        let begins = |start| words.words.iter().any(|word| word.start == start);
        assert!(texts[*of].match_indices(&example.text).any(|(at, _)| begins(at)));
        assert!(tag(example.text.clone()).words.len() <= 5 + 1, "{:?}", example.text);
    }
}

#[test]
fn nothing_is_made_twice_and_nothing_has_a_hard_label() {
    let mut examples = sentences(60);
    // Short texts, of which much the same is made, and one that stands there twice.
    examples.extend(["a film", "the film", "film", "a film"].map(example));
    let made = augment(&examples, &masking(), threads(2));
    let mut seen: HashSet<&str> = examples.iter().map(|e| e.text.as_str()).collect();
    for made in &made {
        assert!(seen.insert(&made.example.text), "{:?} twice", made.example.text);
        assert!(made.example.target.is_none() && !made.example.text.trim().is_empty());
    }
    assert!(made.windows(2).all(|pair| pair[0].of <= pair[1].of));
    // Of the 1200 made of ten words, 8 % are expected to be as before (0.8^10 without n-gram) and 25 % to be n-grams, of which
    // many are dropped; the standard deviation of both together is 16.
    assert!(made.len() > 1200 * 67 / 100 - 4 * 16, "{}", made.len());
    assert!(made.len() <= 20 * examples.len());
}

#[test]
fn texts_do_not_depend_on_threads_or_places_but_on_the_seed() {
    let examples = sentences(101);
    let one = augment(&examples, &masking(), threads(1));
    for count in [2, 3, 7, 500] {
        assert_eq!(augment(&examples, &masking(), threads(count)), one, "{count} threads");
    }
    let texts = |made: &[Augmented]| -> HashSet<String> {
        made.iter().map(|made| made.example.text.clone()).collect()
    };
    let turned: Vec<Example> = examples.iter().rev().cloned().collect();
    assert_eq!(texts(&augment(&turned, &masking(), threads(2))), texts(&one));
    let other = augment(&examples, &Augmentation { seed: 2, ..masking() }, threads(2));
    let common = texts(&other).intersection(&texts(&one)).count();
    // Short n-grams occur with any seed.
    assert!(common * 2 < one.len(), "{common} of {} with another seed too", one.len());
    assert!(augment(&[], &masking(), threads(4)).is_empty());
}

#[test]
fn words_are_exchanged_for_words_of_the_same_kind_in_both_languages() {
    let settings = Augmentation { mask: 0.0, replace: 1.0, ngram: 0.0, ..masking() };
    for (texts, expected) in [
        (["the actor sang", "a girl laughed"], ["a girl laughed", "the actor sang"]),
        (["我爱北京", "你恨上海"], ["你恨上海", "我爱北京"]),
    ] {
        let unigrams = texts.map(|text| tag(text.to_owned()));
        let unigrams = Unigrams::count(unigrams.iter());
        let sampler = Sampler { settings: &settings, unigrams: &unigrams };
        for (text, expected) in texts.iter().zip(expected) {
            let mut chance = super::chance::chance_of(1, crate::wire::ContentHash::new(text, None));
            // Each word has one other of its kind.
            assert_eq!(sampler.vary(&tag((*text).to_owned()), &mut chance), expected);
        }
    }
}
