//! Texts as pre-training reads them: which tokens are pieces of one word, and texts run together into blocks.

use std::collections::HashSet;

use tokenizers::{Encoding, ModelWrapper, Token};

use super::{TextError, Tokenizer, Tokens};

/// Tokens of a text, and its words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worded {
    /// As a model reads them.
    pub tokens: Tokens,
    /// `[T]` the word that a token is a piece of, counted from any number up; `None` for special tokens, the unknown
    /// one among them.
    pub words: Vec<Option<usize>>,
}

impl Worded {
    /// `T`.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token that is a piece of a word.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(Option::is_none)
    }
}

/// Reads texts with a tokenizer's pieces put together to words.
///
/// A word is what the tokenizer splits text into before it looks for pieces: what stands between white space, without
/// punctuation where the tokenizer sets that apart. BERT's takes each Chinese character for a word. Tokenizers that do not
/// split where no space is have a whole Chinese sentence for a word; there each piece of an unspaced script
/// is one. No dictionary is asked.
#[derive(Debug)]
pub struct WordReader {
    inner: tokenizers::Tokenizer,
    special: HashSet<u32>,
    splits_ideographs: bool,
}

/// A script that sets no spaces between words: ideographs and kana, Thai and Lao, Burmese, Khmer.
const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
        || matches!(c, '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
        || matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// What a piece at the beginning of a word begins with: in SentencePiece, and in byte-level BPE.
const MARKS: [char; 2] = ['▁', 'Ġ'];

impl WordReader {
    /// Of a tokenizer, which stays as it is.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let inner = tokenizer.inner.clone();
        let added = inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let splits_ideographs = matches!(inner.get_model(), ModelWrapper::WordPiece(_));
        Self { inner, special, splits_ideographs }
    }

    /// One text with its special tokens, truncated as the tokenizer says.
    pub fn line(&self, text: &str) -> Result<Worded, TextError> {
        let encoding = self.inner.encode(text, true).map_err(failed)?;
        Ok(Worded { words: self.words(text, &encoding, 0), tokens: tokens(&encoding) })
    }

    /// Texts run together, without anything between them, and cut into blocks of as many tokens as the tokenizer
    /// truncates to, each with its special tokens. The last block may be shorter.
    pub fn blocks<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Worded>, TextError> {
        let [before, after] = self.frame()?;
        let longest = self.inner.get_truncation().map_or(usize::MAX, |t| t.max_length);
        let room = longest.saturating_sub(before.len() + after.len()).max(1);
        let mut whole = self.inner.clone();
        let _without = whole.with_truncation(None).map_err(failed)?;

        let mut all = Worded::default();
        for text in texts {
            let encoding = whole.encode(text, false).map_err(failed)?;
            let first = all.words.iter().rev().flatten().next().map_or(0, |last| last + 1);
            let words = self.words(text, &encoding, first);
            extend(&mut all, &Worded { words, tokens: tokens(&encoding) }, 0..encoding.len());
        }
        let mut blocks = Vec::with_capacity(all.len().div_ceil(room));
        for start in (0..all.len()).step_by(room) {
            let mut block = Worded::default();
            extend(&mut block, &before, 0..before.len());
            extend(&mut block, &all, start..all.len().min(start + room));
            extend(&mut block, &after, 0..after.len());
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// The special tokens that stand before and after a text.
    fn frame(&self) -> Result<[Worded; 2], TextError> {
        let text = Encoding::from_tokens(vec![Token::new(0, String::new(), (0, 0))], 0);
        let framed = self.inner.post_process(text, None, true).map_err(failed)?;
        let mask = framed.get_special_tokens_mask();
        let at = mask.iter().position(|special| *special == 0).unwrap_or(mask.len());
        let all = Worded { words: vec![None; framed.len()], tokens: tokens(&framed) };
        let mut frame = [Worded::default(), Worded::default()];
        extend(&mut frame[0], &all, 0..at);
        extend(&mut frame[1], &all, (at + 1).min(all.len())..all.len());
        Ok(frame)
    }

    /// The words of an encoding of `text`, the first of which has the number `first`.
    fn words(&self, text: &str, encoding: &Encoding, first: usize) -> Vec<Option<usize>> {
        let mut next = first;
        let mut before: Option<usize> = None;
        let ids = encoding.get_ids().iter().enumerate();
        let word = |(i, id): (usize, &u32)| {
            if self.special.contains(id) {
                before = None;
                return None;
            }
            if before.is_none_or(|before| self.begins_word(text, encoding, before, i)) {
                next += 1;
            }
            before = Some(i);
            Some(next - 1)
        };
        ids.map(word).collect()
    }

    /// Whether token `i` begins a word, given the token before it.
    fn begins_word(&self, text: &str, encoding: &Encoding, before: usize, i: usize) -> bool {
        let words = encoding.get_word_ids();
        if words[before] != words[i] || encoding.get_tokens()[i].starts_with(MARKS) {
            return true;
        }
        let ((_, end), (start, _)) = (encoding.get_offsets()[before], encoding.get_offsets()[i]);
        // A mark may be a token of its own, and tokens of one character's bytes have the same offsets.
        let is_mark = encoding.get_tokens()[before].chars().all(|c| MARKS.contains(&c));
        if self.splits_ideographs || is_mark || start < end {
            return false;
        }
        let last = text.get(..end).and_then(|text| text.chars().next_back());
        let first = text.get(start..).and_then(|text| text.chars().next());
        last.is_some_and(is_unspaced) || first.is_some_and(is_unspaced)
    }
}

fn tokens(encoding: &Encoding) -> Tokens {
    Tokens {
        ids: encoding.get_ids().iter().map(|&id| i64::from(id)).collect(),
        type_ids: encoding.get_type_ids().iter().map(|&id| i64::from(id)).collect(),
        truncated: !encoding.get_overflowing().is_empty(),
    }
}

fn extend(all: &mut Worded, more: &Worded, range: std::ops::Range<usize>) {
    all.tokens.ids.extend(&more.tokens.ids[range.clone()]);
    all.tokens.type_ids.extend(&more.tokens.type_ids[range.clone()]);
    all.words.extend(&more.words[range]);
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
fn failed(cause: tokenizers::Error) -> TextError {
    TextError::Text(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn reader(folder: &str, max_length: usize) -> WordReader {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        WordReader::new(&Tokenizer::from_folder(&fixtures.join(folder), max_length).unwrap())
    }

    /// The pieces of each word of a text.
    fn words(reader: &WordReader, text: &str) -> Vec<Vec<String>> {
        let worded = reader.line(text).unwrap();
        let mut words: Vec<Vec<String>> = Vec::new();
        for (id, word) in worded.tokens.ids.iter().zip(&worded.words) {
            if let Some(word) = *word {
                words.resize(words.len().max(word + 1), Vec::new());
                words[word].push(reader.inner.id_to_token(*id as u32).unwrap());
            }
        }
        words
    }

    #[test]
    fn pieces_of_word_piece_belong_to_the_word_before_and_each_ideograph_is_a_word() {
        let reader = reader("families/roberta", 64);
        let expected =
            [&["the", "##s", "##e"][..], &["film", "##s"], &["!"], &["电"], &["影"], &["the"]];
        assert_eq!(words(&reader, "these films! 电影 the"), expected);
    }

    #[test]
    fn pieces_of_sentence_piece_are_split_at_spaces_and_in_unspaced_scripts_everywhere() {
        let reader = reader("tokenizers/xlm_roberta", 64);
        let found = words(&reader, "The weather 今天天气很好 is");
        let joined: Vec<String> = found.iter().map(|word| word.concat()).collect();
        assert_eq!(joined[..2], ["▁The", "▁weather"]);
        assert_eq!(joined.last().unwrap(), "▁is");
        for word in &found[2..found.len() - 1] {
            assert!(word.len() == 1 || (word.len() == 2 && word[0] == "▁"), "{word:?}");
        }
    }

    #[test]
    fn bytes_of_one_character_are_one_word() {
        let reader = reader("tokenizers/roberta", 64);
        let found = words(&reader, "The 天气");
        // The space belongs to the first character; each has three bytes.
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[1].concat().starts_with('Ġ'), "{found:?}");
        assert!(found[2].len() > 1, "{found:?}");
    }

    #[test]
    fn special_tokens_and_the_unknown_one_are_no_words() {
        let reader = reader("families/roberta", 64);
        let worded = reader.line("the <mask> \u{1f600} film").unwrap();
        assert_eq!(worded.words, [None, Some(0), None, None, Some(1), None]);
        assert!(reader.line("\u{1f600}").unwrap().is_empty());
    }

    #[test]
    fn blocks_hold_every_token_once_in_order_between_special_tokens() {
        for folder in ["families/roberta", "tokenizers/xlnet"] {
            let (reader, long) = (reader(folder, 7), reader(folder, 512));
            let texts = ["the film is good", "the film", "love the plot . it is bad"];
            let blocks = reader.blocks(texts.into_iter()).unwrap();
            let [before, after] = reader.frame().unwrap();
            assert_eq!(before.len() + after.len(), 2, "{folder}");
            let mut ids = Vec::new();
            let mut seen = Vec::new();
            for (i, block) in blocks.iter().enumerate() {
                assert!(block.len() == 7 || i + 1 == blocks.len(), "{folder}");
                let inner = before.len()..block.len() - after.len();
                assert_eq!(block.tokens.ids[..before.len()], before.tokens.ids);
                assert_eq!(block.tokens.ids[inner.end..], after.tokens.ids);
                assert_eq!(block.tokens.type_ids[inner.end..], after.tokens.type_ids);
                ids.extend_from_slice(&block.tokens.ids[inner.clone()]);
                seen.extend_from_slice(&block.words[inner]);
            }
            let mut expected = Vec::new();
            for text in texts {
                let encoding = long.inner.encode(text, false).unwrap();
                expected.extend(tokens(&encoding).ids);
            }
            assert_eq!(ids, expected, "{folder}");
            assert!(seen.is_sorted() && seen.iter().all(Option::is_some), "{folder}: {seen:?}");
        }
    }
}
