//! BERT against `transformers`; fixtures by `tests/fixtures/make_bert.py`.

use super::{
    super::{Classifier as _, HeadKind, Pooling, Teacher, TeacherSettings},
    assert_close, expected, fixtures,
};
use crate::{data::LabelSet, testing::device};

#[test]
fn classifiers_agree_with_transformers() {
    for case in ["with_pooler", "bin_with_vocab_txt"] {
        let teacher = Teacher::load(&fixtures().join("bert").join(case), device()).unwrap();
        for batch in expected(case) {
            let logits = tch::no_grad(|| teacher.logits(&batch.padded()).unwrap());
            assert_close(&format!("{case}, {}", batch.name), &logits, &batch.logits.unwrap());
        }
    }
}

#[test]
fn a_bare_encoder_agrees_with_transformers_in_every_hidden_state_and_its_mean() {
    let case = "encoder_no_pooler";
    let settings =
        TeacherSettings { head: HeadKind::Linear { pooling: Pooling::Mean }, max_length: 64 };
    let labels = LabelSet::new(vec!["a".into(), "b".into()]).unwrap();
    let folder = fixtures().join("bert").join(case);
    let teacher = Teacher::from_encoder(&folder, labels, settings, device()).unwrap();
    for batch in expected(case) {
        let (hidden, pooled) = tch::no_grad(|| teacher.hidden_and_pooled(&batch.padded()).unwrap());
        let name = format!("{case}, {}", batch.name);
        assert_close(&name, &pooled, batch.mean_pooled.as_ref().unwrap());
        batch.assert_hidden(&name, &hidden);
    }
}

#[test]
fn tokenizers_give_the_ids_of_transformers() {
    for case in ["with_pooler", "encoder_no_pooler", "bin_with_vocab_txt"] {
        for batch in expected(case) {
            let folder = fixtures().join("bert").join(case);
            let max_length = batch.max_length.unwrap_or(64);
            let tokenizer = crate::text::Tokenizer::from_folder(&folder, max_length).unwrap();
            for (i, wanted) in batch.tokens().iter().enumerate() {
                let pair = batch.text_pairs.as_ref().map(|pairs| pairs[i].as_str());
                let found = tokenizer.encode(&batch.texts[i], pair).unwrap();
                assert_eq!(
                    (&found.ids, &found.type_ids),
                    (&wanted.ids, &wanted.type_ids),
                    "{case}"
                );
            }
        }
    }
}
