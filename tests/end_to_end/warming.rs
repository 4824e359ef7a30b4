//! A store that was filled beforehand: runs after it need no forward pass.

use std::{fs, path::PathBuf, time::Duration};

use lectern::{data::Columns, wire::Limits};
use serde_json::json;
use student_trainer::warm::{WarmConfig, warm};
use teacher_server::serve::ServeConfig;

use crate::{
    runs::{alone, options, read_json, run},
    support::{Server, texts},
};

fn config(server: &Server, data: Vec<PathBuf>) -> WarmConfig {
    WarmConfig {
        teacher: server.url(),
        data,
        plain: false,
        columns: Columns::default(),
        name: "warm".to_owned(),
        patience: Duration::ZERO,
    }
}

#[test]
fn a_run_after_warming_needs_no_forward_pass() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let options = options(folder.path(), &server, "run");
    let train = options.train.clone().unwrap();
    // The same 24 texts twice, and one more.
    let more = folder.path().join("more.csv");
    fs::write(&more, "text\nthe film is dull\nthe end\n").unwrap();
    let summary = warm(&config(&server, vec![train.clone(), train, more])).unwrap();
    assert_eq!((summary.examples, summary.distinct, summary.answered), (50, 25, 25));
    assert_eq!((summary.refused(), &summary.teacher), (0, &server.card().fingerprint));

    let stream = read_json(&run(options).join("summary.json"))["stream"].clone();
    assert_eq!(stream["answered"], 24);
    // The 15 texts of dev and test, asked for at the run's end, are of the 24 too.
    let totals = server.stop();
    assert_eq!((totals.computed, totals.from_memory), (25, 24 + 15));
}

#[test]
fn files_of_every_kind_are_asked_for_once_and_refusals_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { credits: 40, max_example_bytes: 300, ..Limits::default() };
    let server = Server::with(ServeConfig { limits, ..Server::config() });
    let texts = texts(500);
    let line = |(text, pair): &(String, Option<String>)| match pair {
        None => json!({"text": text}).to_string(),
        Some(pair) => json!({"text": text, "text_pair": pair, "label": 9.5}).to_string(),
    };
    let lines: Vec<String> = texts.iter().map(line).collect();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let data = vec![
        write("lines.jsonl", lines[..300].join("\n")),
        write("array.json", format!("\u{feff} [{}]", lines[250..].join(","))),
        write("rows.tsv", format!("text\tother\nshort\tx\n{}\tx\n", "long ".repeat(61))),
    ];
    let summary = warm(&config(&server, data)).unwrap();
    assert_eq!((summary.examples, summary.distinct), (552, 502));
    assert_eq!((summary.answered, summary.refused()), (501, 1));
    assert_eq!(summary.refused["ERROR_CODE_TOO_LARGE"], 1);
    let reason = &summary.reasons[0];
    assert!(reason.contains("rows.tsv:3: ") && reason.contains("300"), "{reason}");
    assert_eq!(server.stop().computed, 501);
}

#[test]
fn a_bad_row_in_the_last_file_is_found_before_the_teacher_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let (good, bad) = (folder.path().join("good.jsonl"), folder.path().join("bad.jsonl"));
    fs::write(&good, "{\"text\": \"a film\"}\n").unwrap();
    fs::write(&bad, "{\"text\": \"a film\"}\n{\"txt\": \"typo\"}\n").unwrap();
    let empty = folder.path().join("empty.jsonl");
    fs::write(&empty, "\n").unwrap();
    for (file, said) in [(bad, "bad.jsonl:2: no text"), (empty, "empty.jsonl has no rows")] {
        let error = warm(&config(&server, vec![good.clone(), file])).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(server.stop().answered, 0);
}

#[test]
fn lines_of_plain_text_are_texts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let file = folder.path().join("sentences.txt");
    fs::write(&file, "a film\n{\"text\": \"not JSON here\"}\na film\n").unwrap();
    let plain = WarmConfig { plain: true, ..config(&server, vec![file]) };
    let summary = warm(&plain).unwrap();
    assert_eq!((summary.examples, summary.answered), (3, 2));
}
