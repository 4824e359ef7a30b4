//! The parts of a stored row's cost that can be measured alone: the same functions on the same data,
//! in a loop, without connection.

use std::{hint::black_box, time::Instant};

use lectern::wire::{
    Answer, ContentHash, Row, RowFormat, decode_rows, encode_rows,
    proto::{StudentMessage, TeacherMessage, teacher_message},
};
use prost::Message as _;

use crate::{client::Texts, headlines::Headlines, stored_client::BATCH};

const CLASSES: usize = 5;

/// Microseconds an example of each part.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) server: Vec<(&'static str, f64)>,
    pub(crate) client: Vec<(&'static str, f64)>,
}

/// Measures all parts on batches of headlines with 5 classes in float32.
pub(crate) fn measure() -> Costs {
    let texts = Headlines::seeded(11).take(BATCH);
    let answers: Vec<Answer> = texts
        .iter()
        .zip(100_000..)
        .map(|(text, id)| {
            let content = ContentHash::new(text, None);
            let logits = [0.5; CLASSES].into();
            Answer { id, outcome: Ok(Row { content, logits, variance: None, truncated: false }) }
        })
        .collect();
    let rows = encode_rows(&answers, CLASSES, RowFormat::default());
    let answer = TeacherMessage { message: Some(teacher_message::Message::Rows(rows.clone())) };
    let answer_bytes = bytes(&answer);
    let asking = Texts::new(texts.clone());
    let question = asking.message(0, BATCH);
    let question_bytes = bytes(&question);

    let hash = || {
        for text in &texts {
            black_box(ContentHash::new(text, None));
        }
    };
    let pack = || drop(black_box(encode_rows(&answers, CLASSES, RowFormat::default())));
    let server = vec![
        (
            "decoding the question",
            time(|| drop(black_box(StudentMessage::decode(question_bytes.clone())))),
        ),
        ("hashing contents", time(hash)),
        ("packing rows, checksum", time(pack)),
        ("encoding the answer", time(|| drop(black_box(answer.encode_to_vec())))),
    ];
    let client = vec![
        ("building the question", time(|| drop(black_box(asking.message(0, BATCH))))),
        ("encoding the question", time(|| drop(black_box(question.encode_to_vec())))),
        (
            "decoding the answer",
            time(|| drop(black_box(TeacherMessage::decode(answer_bytes.clone())))),
        ),
        ("unpacking and checking rows", time(|| drop(black_box(decode_rows(&rows, CLASSES))))),
    ];
    Costs { server, client }
}

fn bytes(message: &impl prost::Message) -> prost::bytes::Bytes {
    message.encode_to_vec().into()
}

/// Microseconds an example of one batch's work: the least of many short rounds, for whatever else the
/// machine does only adds.
fn time(work: impl Fn()) -> f64 {
    const ROUNDS: u32 = 100;
    const CALLS: u32 = 20;
    let round = |_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| work());
        1e6 * start.elapsed().as_secs_f64() / f64::from(CALLS) / BATCH as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
