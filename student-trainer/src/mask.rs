//! A word that is hidden in a made text. The teacher is asked about the text as it was made, with the teacher's own mask
//! token; the student reads its own in that place, for the other's spelling is text to it.

use std::{borrow::Cow, path::Path};

use lectern::{
    data::Example,
    text::{TextError, Tokenizer, mask_spelling},
};

use crate::config::TransferCounts;

/// How a hidden word is spelt; with the same spelling twice, or none, every text is read as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mask {
    /// In made texts.
    made: String,
    /// To the student's tokenizer.
    own: String,
}

impl Mask {
    /// The mask token of `tokenizer`, beside a tokenizer that reads it as one token wherever it stands: its own, or if it
    /// has none, that of the made texts, which is then one token more.
    ///
    /// - `folder`: where the tokenizer is from, if that may say which its mask token is
    pub(crate) fn of(
        tokenizer: Tokenizer,
        folder: Option<&Path>,
        made: &str,
    ) -> Result<(Tokenizer, Self), TextError> {
        let own = mask_spelling(folder, &tokenizer)?.unwrap_or_else(|| made.to_owned());
        Ok((tokenizer.with_mask(&own)?, Self { made: made.to_owned(), own }))
    }

    /// The examples as the student reads them, in order.
    pub(crate) fn read<'a>(
        &self,
        train: &'a [Example],
        counts: TransferCounts,
    ) -> impl Iterator<Item = Cow<'a, Example>> {
        let made = counts.labelled..counts.labelled + counts.augmented;
        train.iter().enumerate().map(move |(index, example)| {
            if self.made == self.own || !made.contains(&index) {
                return Cow::Borrowed(example);
            }
            let respelt = |text: &String| text.replace(&self.made, &self.own);
            Cow::Owned(Example {
                text: respelt(&example.text),
                text_pair: example.text_pair.as_ref().map(respelt),
                target: example.target.clone(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use lectern::{commands::tokenise, text::word_tokenizer};

    use super::*;

    fn example(text: &str, text_pair: Option<&str>) -> Example {
        Example { text: text.to_owned(), text_pair: text_pair.map(str::to_owned), target: None }
    }

    /// Of a labelled text, the same as a made one, and the same as one without label.
    fn ids(tokenizer: Tokenizer, folder: Option<&Path>, made: &str) -> [Vec<i64>; 3] {
        let (tokenizer, mask) = Mask::of(tokenizer, folder, made).unwrap();
        let text = || example(&format!("the {made} is"), None);
        let train = [text(), text(), text()];
        let counts = TransferCounts { labelled: 1, augmented: 1, unlabelled: 1 };
        let tokens = tokenise(&tokenizer, mask.read(&train, counts), 16).unwrap();
        tokens.into_iter().map(|tokens| tokens.ids).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn an_encoders_tokenizer_reads_its_own_mask_in_made_texts_alone() {
        let read = |name: &str, made: &str| {
            let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families");
            let folder = families.join(name);
            let tokenizer = Tokenizer::from_folder(&folder, 16).unwrap();
            ids(tokenizer, Some(&folder), made)
        };
        // <s> 0, </s> 2, <unk> 3, <mask> 4, the 57, is 59; of "[MASK]" the brackets are unknown, m 17, ##a 31, ##s 49,
        // ##k 41.
        let pieces = vec![0, 57, 3, 17, 31, 49, 41, 3, 59, 2];
        let hidden = vec![0, 57, 4, 59, 2];
        assert_eq!(read("roberta", "[MASK]"), [pieces.clone(), hidden.clone(), pieces]);
        assert_eq!(read("roberta", "<mask>"), [hidden.clone(), hidden.clone(), hidden]);
        // [CLS] 1, [SEP] 2, [UNK] 3, [MASK] 4.
        let pieces = vec![1, 57, 3, 17, 31, 49, 41, 3, 59, 2];
        assert_eq!(read("distilbert", "<mask>"), [pieces.clone(), vec![1, 57, 4, 59, 2], pieces]);
    }

    #[test]
    fn words_of_training_texts_have_one_mask_whatever_the_teachers_is() {
        // Padding, unknown; is 2, mask 3, the 4; [MASK] 5.
        let words = || {
            let words = word_tokenizer(["the mask is"].into_iter(), 1, 100).unwrap();
            Tokenizer::new(words, 16).unwrap()
        };
        let (pieces, hidden) = (vec![4, 1, 3, 1, 2], vec![4, 5, 2]);
        assert_eq!(ids(words(), None, "<mask>"), [pieces.clone(), hidden.clone(), pieces]);
        assert_eq!(ids(words(), None, "[MASK]"), [hidden.clone(), hidden.clone(), hidden]);
        let (tokenizer, _) = Mask::of(words(), None, "<mask>").unwrap();
        assert_eq!((tokenizer.vocabulary_size(), tokenizer.json()), (6, words().json()));
    }

    #[test]
    fn a_tokenizer_without_a_mask_takes_that_of_the_made_texts() {
        let words = word_tokenizer(["the is"].into_iter(), 1, 100).unwrap();
        let words = Tokenizer::new(words, 16).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(words.json()).unwrap();
        json["added_tokens"] = serde_json::json!([]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json.to_string()).unwrap();
        let bare = Tokenizer::from_file(file.path(), 16).unwrap();
        // Padding, unknown, is 2, the 3; one more.
        let hidden = vec![3, 4, 2];
        assert_eq!(ids(bare.clone(), None, "[GAP]"), [hidden.clone(), hidden.clone(), hidden]);
        assert_eq!(Mask::of(bare, None, "[GAP]").unwrap().0.vocabulary_size(), 5);
    }

    #[test]
    fn both_texts_of_a_pair_are_respelt_and_nothing_is_without_hidden_words() {
        let mask = Mask { made: "<mask>".to_owned(), own: "[MASK]".to_owned() };
        let train = [example("a <mask>", Some("<mask><mask>"))];
        let counts = TransferCounts { augmented: 1, ..TransferCounts::default() };
        let read: Vec<_> = mask.read(&train, counts).collect();
        assert_eq!(*read[0], example("a [MASK]", Some("[MASK][MASK]")));
        let none = Mask::default();
        assert!(matches!(none.read(&train, counts).next(), Some(Cow::Borrowed(_))));
    }
}
