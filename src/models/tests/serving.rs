//! Teachers as they are served: in each arithmetic near `transformers`, the same bits each time.

use std::path::PathBuf;

use tch::Device;

use super::{
    super::{Arithmetic, Classifier as _, ModelError, Teacher, TokenBatch},
    ExpectedBatch, arithmetics, assert_rows, expected, fixtures, served_bound,
};
use crate::{testing::device, text::Tokens};

/// Every batch of the classifier fixtures: tokens, the width `transformers` padded them to, logits.
fn served_cases() -> Vec<(PathBuf, Vec<ExpectedBatch>)> {
    ["with_pooler", "bin_with_vocab_txt"]
        .map(|case| (fixtures().join("bert").join(case), expected(case)))
        .into()
}

#[test]
fn a_served_teacher_agrees_with_transformers_within_its_arithmetics_bound() {
    for (folder, batches) in served_cases() {
        for arithmetic in arithmetics() {
            let teacher = Teacher::load_for_serving(&folder, device(), arithmetic).unwrap();
            for batch in &batches {
                let rows = teacher.predict_batch(&batch.padded()).unwrap();
                assert_rows(&arithmetic.to_string(), &rows, batch, served_bound(arithmetic));
            }
        }
    }
}

#[test]
fn a_row_computed_alone_has_the_same_bits_every_time() {
    let (folder, batches) = served_cases().remove(0);
    for arithmetic in arithmetics() {
        let teacher = Teacher::load_for_serving(&folder, device(), arithmetic).unwrap();
        for tokens in batches[0].tokens().into_iter().take(2) {
            let first = teacher.predict(&[&tokens]).unwrap();
            for _ in 0..3 {
                // Other work in between must leave nothing behind.
                teacher.predict(&[&tokens, &tokens]).unwrap();
                assert_eq!(teacher.predict(&[&tokens]).unwrap(), first, "{arithmetic}");
            }
        }
    }
}

#[test]
fn arithmetic_is_part_of_the_fingerprint_and_float32_is_the_trained_teachers_own() {
    let (folder, _) = served_cases().remove(0);
    let trained = Teacher::load(&folder, Device::Cpu).unwrap().fingerprint().unwrap();
    let served = |arithmetic| {
        let teacher = Teacher::load_for_serving(&folder, Device::Cpu, arithmetic).unwrap();
        assert_eq!(teacher.arithmetic(), arithmetic.on(Device::Cpu));
        teacher.fingerprint().unwrap()
    };
    assert_eq!(served(Arithmetic::Auto), trained);
    assert_eq!(served(Arithmetic::Float32), trained);
    let (bfloat16, int8) = (served(Arithmetic::BFloat16), served(Arithmetic::Int8));
    assert!(bfloat16 != trained && int8 != trained && bfloat16 != int8);
}

#[test]
fn a_served_teacher_counts_its_parameters_but_cannot_be_saved() {
    let (folder, _) = served_cases().remove(0);
    let trained = Teacher::load(&folder, Device::Cpu).unwrap();
    let served = Teacher::load_for_serving(&folder, Device::Cpu, Arithmetic::Int8).unwrap();
    assert_eq!(served.parameters().count(), trained.parameters().count());
    let target = tempfile::tempdir().unwrap();
    let error = served.save(&target.path().join("copy")).unwrap_err();
    assert!(matches!(error, ModelError::Released), "{error}");
    assert!(!target.path().join("copy").exists());
}

#[test]
fn operations_are_two_for_each_weight_and_token_and_attentions_products() {
    let teacher = Teacher::load(&fixtures().join("bert/with_pooler"), device()).unwrap();
    let tokens = |n| Tokens { ids: vec![1; n], type_ids: vec![0; n], truncated: false };
    let batch = TokenBatch::new(&[&tokens(3), &tokens(5)], device()).unwrap();
    // 2 layers of 32 units with 64 inside, 10 rows with padding, 2 examples of width 5.
    let weights = 4.0 * 32.0 * 32.0 + 2.0 * 32.0 * 64.0;
    let by_hand = 2.0 * (2.0 * 10.0 * weights + 4.0 * 2.0 * 25.0 * 32.0);
    assert!((teacher.flops(&batch) - by_hand).abs() < 1e-6);
}

#[test]
fn a_batch_can_be_prepared_on_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<TokenBatch>();
}
