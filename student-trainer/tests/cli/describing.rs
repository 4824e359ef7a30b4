//! What `describe` says of a teacher.

use std::path::Path;

use lectern::wire::label_file::LabelWriter;
use serde_json::Value;
use student_trainer::labels::describe;

use crate::support::{Data, Teacher, stderr, stdout, student_trainer};

#[test]
fn a_teachers_card_is_printed_for_people_and_for_programs() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let card = describe(&teacher.url.parse().unwrap(), std::time::Duration::ZERO).unwrap();
    let printed = stdout(&student_trainer(&["describe", "--teacher", &teacher.url]));
    for said in [
        card.fingerprint.as_str(),
        "with_pooler",
        "3: negative, neutral, positive",
        "float32, float16, top-k",
        "64 tokens",
        "1024 examples in flight",
    ] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    let json = stdout(&student_trainer(&["describe", "--teacher", &teacher.url, "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, serde_json::to_value(&card).unwrap());

    // A label file names the teacher whose rows it holds.
    let labels = data.path("rows.parquet");
    LabelWriter::create(Path::new(&labels), &card).unwrap().finish().unwrap();
    assert_eq!(stdout(&student_trainer(&["describe", "--labels", &labels])), printed);
}

#[test]
fn without_a_source_there_is_nothing_to_describe() {
    let output = student_trainer(&["describe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--teacher or --labels"), "{}", stderr(&output));
}
