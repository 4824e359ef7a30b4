//! What the readers promise, across formats. The fixtures are written by
//! `tests/fixtures/data/make_data.py`.

mod streaming;
mod tasks;

use std::path::{Path, PathBuf};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, contents: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, contents).unwrap();
    File { _folder: folder, path }
}

impl File {
    fn read(&self) -> Result<Records, DataError> {
        read_records(&self.path, &Columns::default(), LabelUse::Required(Task::SingleLabel))
    }

    fn lines(&self) -> Vec<usize> {
        self.read().unwrap().rows().iter().map(|row| row.line).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.read().unwrap().rows().iter().map(|row| row.text.clone()).collect()
    }

    /// The message without the folder.
    fn message(&self, error: &DataError) -> String {
        let folder = self.path.parent().unwrap().display().to_string();
        error.to_string().replace(&format!("{folder}/"), "")
    }

    fn refusal(&self) -> String {
        self.message(&self.read().unwrap_err())
    }
}

fn set(names: &[&str]) -> LabelSet {
    LabelSet::new(names.iter().map(ToString::to_string).collect()).unwrap()
}

#[test]
fn every_format_gives_the_same_rows() {
    let row = |text: &str, label: &str, pair: Option<&str>| {
        (text.to_owned(), RawLabel::parse(label).map(Target::Label), pair.map(str::to_owned))
    };
    let expected = [
        row("a stirring , funny film", "positive", Some("is it good ?")),
        row("he called it \"art", "negative", None),
        row("全面战争：三国，值得玩吗？", "positive", Some("游戏")),
        row("\"so bad\" it is , well , bad", "negative", None),
    ];
    for (name, lines) in [
        ("rows.json", [2, 7, 12, 17]),
        ("rows.jsonl", [1, 2, 3, 4]),
        ("rows.csv", [2, 3, 4, 5]),
        ("rows.tsv", [2, 3, 4, 5]),
        ("rows.parquet", [1, 2, 3, 4]),
    ] {
        let read = read_records(
            &fixture(name),
            &Columns::default(),
            LabelUse::Required(Task::SingleLabel),
        )
        .unwrap();
        let rows = read.rows().iter().map(|row| {
            let row = row.clone();
            (row.text, row.target, row.text_pair)
        });
        assert_eq!(rows.collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(read.rows().iter().map(|row| row.line).collect::<Vec<_>>(), lines, "{name}");
    }
}

#[test]
fn parquet_takes_integers_nulls_and_other_columns() {
    let columns = Columns {
        text: Some("sentence".to_owned()),
        label: Some("idx".to_owned()),
        ..Columns::default()
    };
    let path = fixture("ids.parquet");
    let read = read_records(&path, &columns, LabelUse::Optional(Task::SingleLabel)).unwrap();
    let labels: Vec<_> = read.rows().iter().map(|row| row.target.clone()).collect();
    let id = |id| Some(Target::Label(RawLabel::Id(id)));
    assert_eq!(labels, [id(1), id(0), None, id(0)]);

    let error = read_records(&path, &columns, LabelUse::Required(Task::SingleLabel))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("ids.parquet:3: no label in column \"idx\""), "{error}");
    let score = Columns { label: Some("score".to_owned()), ..columns };
    let error =
        read_records(&path, &score, LabelUse::Required(Task::SingleLabel)).unwrap_err().to_string();
    let expected = "ids.parquet:1: column \"score\" must be a string or an integer, found 0.5; \
                    such numbers are for a regression task";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn marks_line_ends_and_blank_lines_do_not_move_the_line_numbers() {
    let csv = file(
        "a.csv",
        "\u{feff}text,label\r\none,0\r\n\r\n\r\n\"two\r\nlines, \"\"x\"\"\",1\r\nthree,0",
    );
    assert_eq!(csv.lines(), [2, 5, 7]);
    assert_eq!(csv.texts(), ["one", "two\r\nlines, \"x\"", "three"]);
    let json = file(
        "a.json",
        "\r\n{\"text\": \"one\", \"label\": 0}\r\n\r\n{\"text\": \"two\", \"label\": 1}",
    );
    assert_eq!(json.lines(), [2, 4]);
    let array = file(
        "a.jsonl",
        "\u{feff}\n[{\"text\": \"a\\nb\",\n\"label\": 0}, {\"text\": \"c\", \"label\": 1},\n\n {\"text\": \"d\", \"label\": 1}\n]\n",
    );
    assert_eq!(array.lines(), [2, 3, 5]);
}

#[test]
fn a_stray_quote_in_tsv_swallows_nothing() {
    let tsv = file("a.tsv", "label\ttext\n0\t\"unclosed\n1\tit's 5\" wide\n0\t\"all\"\n");
    assert_eq!(tsv.texts(), ["\"unclosed", "it's 5\" wide", "\"all\""]);
}

#[test]
fn a_quote_in_csv_that_never_ends_is_named_where_it_begins() {
    let csv = file("a.csv", "label,text\n0,fine\n1,\"unclosed\n0,more\n1,\"and more\n");
    // The second quote closes the first, and what follows it opens nothing.
    assert_eq!(csv.lines(), [2, 3]);
    let csv = file("a.csv", "label,text\n0,fine\n1,\"unclosed\n0,more\n");
    assert_eq!(csv.refusal(), "a.csv:3: not valid CSV: a quoted field that begins here never ends");
}

#[test]
fn files_that_are_missing_empty_or_of_no_known_kind_are_refused() {
    let absent = File { path: PathBuf::from("/nowhere/train.csv"), ..file("a", "") };
    assert_eq!(absent.refusal(), "train.csv does not exist");
    for name in ["a.json", "a.csv", "a.tsv", "a.parquet"] {
        assert_eq!(file(name, "").refusal(), format!("{name} is empty"));
    }
    assert_eq!(file("a.csv", "text,label\n").refusal(), "a.csv has no rows");
    assert_eq!(file("a.json", "[ ]").refusal(), "a.json has no rows");
    let message = file("a.txt", "text").refusal();
    assert!(message.starts_with("a.txt: the name must end in .json"), "{message}");
    let message = file("a.parquet", "PAR1 but not really").refusal();
    assert!(message.starts_with("a.parquet is not a readable Parquet file"), "{message}");
}

#[test]
fn a_damaged_parquet_file_is_an_error_wherever_the_damage_is() {
    let whole = std::fs::read(fixture("rows.parquet")).unwrap();
    for length in (0..whole.len()).step_by(101) {
        assert!(file("a.parquet", &whole[..length]).read().is_err(), "cut to {length} bytes");
    }
    // At 754 the Parquet crate itself panics: the dictionary page is gone.
    for at in (0..whole.len()).step_by(29) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        // Damage within a string cannot be told from another string.
        let _ = file("a.parquet", damaged).read().map(|records| records.label_set());
    }
}

#[test]
fn a_column_that_is_not_there_lists_those_that_are() {
    let expected = |name: &str| {
        format!(
            "{name}: no column \"text\", there are \"sentence\", \"label\"; name the right one with --text-column"
        )
    };
    assert_eq!(file("a.csv", "sentence,label\na,0\n").refusal(), expected("a.csv"));
    let json = file("a.jsonl", "{\"sentence\": \"a\", \"label\": 0}");
    assert_eq!(json.refusal(), expected("a.jsonl"));
}

#[test]
fn a_second_text_that_was_named_must_be_there() {
    let columns = Columns { text_pair: Some("answer".to_owned()), ..Columns::default() };
    for (name, contents) in
        [("a.tsv", "text\tlabel\na\t0\n"), ("a.json", "[{\"text\": \"a\", \"label\": 0}]")]
    {
        let file = file(name, contents);
        let error =
            read_records(&file.path, &columns, LabelUse::Required(Task::SingleLabel)).unwrap_err();
        let message = file.message(&error);
        let expected = format!("{name}: no column \"answer\", there are \"text\", \"label\"");
        assert!(message.starts_with(&expected), "{message}");
    }
    // In JSON only some rows may have one.
    let some = file("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\", \"answer\": \"c\"}");
    let read = read_records(&some.path, &columns, LabelUse::Optional(Task::SingleLabel)).unwrap();
    let pairs: Vec<_> = read.rows().iter().map(|row| row.text_pair.as_deref()).collect();
    assert_eq!(pairs, [None, Some("c")]);
}

#[test]
fn a_row_without_text_or_label_is_named() {
    for (name, contents, line) in [
        ("a.csv", "text,label\na,0\n  ,1\n", 3),
        ("a.tsv", "text\tlabel\na\t0\n\t1\n", 3),
        ("a.json", "[{\"text\": \"a\", \"label\": 0},\n{\"label\": 1}]", 2),
        ("a.jsonl", "{\"text\": \"a\", \"label\": 0}\n\n{\"text\": null, \"label\": 1}", 3),
    ] {
        assert_eq!(
            file(name, contents).refusal(),
            format!("{name}:{line}: no text in column \"text\"")
        );
    }
    for (name, contents) in [
        ("a.csv", "text,label\na,0\nb, \n"),
        ("a.json", "[{\"text\": \"a\", \"label\": 0},\n\n{\"text\": \"b\"}]"),
    ] {
        assert_eq!(
            file(name, contents).refusal(),
            format!("{name}:3: no label in column \"label\"")
        );
    }
}

#[test]
fn broken_rows_are_named_by_line() {
    let refused = |name: &str, contents: &str| file(name, contents).refusal();
    assert_eq!(
        refused("a.csv", "text,label\na,0\nb, c,1\n"),
        "a.csv:3: not valid CSV: the header has 2 columns and this row 3"
    );
    assert_eq!(
        refused("a.jsonl", "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"b\"\n"),
        "a.jsonl:2: not valid JSON: EOF while parsing an object"
    );
    assert_eq!(
        refused("a.json", "[\n{\"text\": \"a\", \"label\": 0},\n{\"text\": \"b\",\n\"label\" 1}]"),
        "a.json:4: not valid JSON: expected `:`"
    );
    assert_eq!(
        refused("a.json", "[{\"text\": \"a\", \"label\": 0}\n{\"text\": \"b\"}]"),
        "a.json:2: not valid JSON: expected \",\", found '{'"
    );
    for open in ["[{\"text\": \"a\", \"label\": 0}", "[{\"text\": \"a\", \"label\": 0},"] {
        let message = refused("a.json", open);
        assert!(message.ends_with("found the end of the file"), "{message}");
    }
    assert_eq!(
        refused("a.json", "[]\n[]"),
        "a.json:2: not valid JSON: expected the end of the file, found '['"
    );
    assert_eq!(
        refused("a.jsonl", "{\"text\": 5, \"label\": 0}"),
        "a.jsonl:1: column \"text\" must be a string, found a number"
    );
    assert_eq!(
        refused("a.jsonl", "{\"text\": \"a\", \"label\": 0.5}"),
        "a.jsonl:1: column \"label\" must be a string or an integer, found 0.5; such \
         numbers are for a regression task"
    );
}

#[test]
fn text_that_is_not_utf_8_is_named_by_line_and_byte() {
    let latin = file("a.csv", b"text,label\na,0\ncaf\xe9,1\n");
    assert_eq!(latin.refusal(), "a.csv:3: not UTF-8 at byte 18 of the file; save it as UTF-8");
}

#[test]
fn names_are_sorted_and_ids_counted_when_no_label_set_is_given() {
    let names = file("a.tsv", "text\tlabel\na\tpos\nb\tneg\nc\tpos\n").read().unwrap();
    assert_eq!(names.label_set().unwrap(), set(&["neg", "pos"]));
    let resolved = names.resolve(&set(&["neg", "pos"])).unwrap();
    assert_eq!(
        resolved.into_iter().filter_map(|row| row.target).collect::<Vec<_>>(),
        [1, 0, 1].map(Target::Label)
    );

    let ids = file("a.csv", "text,label\na,2\nb,0\nc,1\n").read().unwrap();
    assert_eq!(ids.label_set().unwrap(), set(&["0", "1", "2"]));
}

#[test]
fn ids_index_names_unless_the_names_are_numbers_themselves() {
    let rows = || file("a.csv", "text,label\na,1\nb,2\n").read().unwrap();
    let classes = |names: &[&str]| {
        let examples = rows().resolve(&set(names)).unwrap();
        let targets = examples.iter().filter_map(|example| example.target.as_ref());
        targets.flat_map(Target::labels).copied().collect::<Vec<_>>()
    };
    assert_eq!(classes(&["car", "edu", "game"]), [1, 2]);
    assert_eq!(classes(&["1", "2", "3"]), [0, 1]);
    assert_eq!(classes(&["-1", "2", "1"]), [2, 1]);
}

#[test]
fn labels_that_do_not_fit_are_named() {
    let refused = |contents: &str, names: &[&str]| {
        let file = file("test.csv", format!("text,label\n{contents}"));
        file.message(&file.read().unwrap().resolve(&set(names)).unwrap_err())
    };
    assert_eq!(
        refused("a,neg\nb,neutral\n", &["neg", "pos"]),
        "test.csv:3: label \"neutral\" is not one of \"neg\", \"pos\""
    );
    assert_eq!(
        refused("a,0\nb,2\n", &["neg", "pos"]),
        "test.csv:3: label id 2 is past the last of \"neg\", \"pos\" (ids start at 0)"
    );
    assert_eq!(
        refused("a,0\nb,1\n", &["1", "2"]),
        "test.csv:2: label \"0\" is not one of \"1\", \"2\""
    );
    assert_eq!(
        refused("a,neg\nb,pos\nc,1\n", &["neg", "pos"]),
        "test.csv:4: label 1 among names as at line 2 (neg); use one kind, or name all labels \
         with --label-names FILE"
    );
}

#[test]
fn a_training_file_without_a_sound_label_set_is_refused() {
    let refused = |contents: &str| {
        let file = file("train.csv", format!("text,label\n{contents}"));
        file.message(&file.read().unwrap().label_set().unwrap_err())
    };
    assert_eq!(
        refused("a,1\nb,neg\n"),
        "train.csv:3: label neg among ids as at line 2 (1); use one kind, or name all labels with \
         --label-names FILE"
    );
    assert_eq!(
        refused("a,1\nb,5\nc,0\n"),
        "train.csv:3: label id 5, but no row has id 2; ids run from 0 without gaps, name the \
         labels with --label-names FILE"
    );
    assert_eq!(
        refused("a,neg\n"),
        "train.csv: a single-label task needs at least 2 labels, there is 1"
    );
}

#[test]
fn texts_without_labels_are_lines_or_rows() {
    let lines = file("texts.txt", "\u{feff}one\r\n\n \n two {2}\n");
    let read = |file: &File| {
        let rows = read_unlabelled(&file.path, &Columns::default()).unwrap();
        rows.into_iter().map(|row| (row.line, row.text, row.text_pair)).collect::<Vec<_>>()
    };
    assert_eq!(read(&lines), [(1, "one".to_owned(), None), (4, " two {2}".to_owned(), None)]);
    let rows = file("texts.csv", "text,text_pair,label\none,two,9.5\n");
    assert_eq!(read(&rows), [(2, "one".to_owned(), Some("two".to_owned()))]);
    let unknown = file("texts.log", "one\n");
    assert!(read_unlabelled(&unknown.path, &Columns::default()).is_err());
}
