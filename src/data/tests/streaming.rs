//! Records one at a time against the whole file, on sound files and on scraps of text.

use proptest::prelude::*;

use super::*;

#[test]
fn a_stream_of_records_is_what_reading_the_whole_file_gives() {
    let columns = Columns::default();
    for name in ["rows.json", "rows.jsonl", "rows.csv", "rows.tsv", "rows.parquet"] {
        let streamed = stream_records(&fixture(name), &columns, false).unwrap();
        let streamed: Vec<_> = streamed.map(Result::unwrap).collect();
        let whole = read_records(&fixture(name), &columns, LabelUse::Ignored).unwrap();
        assert_eq!(streamed, whole.rows(), "{name}");
        assert!(streamed.iter().all(|record| record.target.is_none()), "{name}");
    }
}

/// Text made of what the formats give a meaning to.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\"text\"",
        "\"label\"",
        ":",
        ",",
        "\t",
        "\n",
        "\r\n",
        " ",
        "1",
        "-",
        "é",
        "体",
        "\u{feff}",
        "\u{1}end",
        "null",
        "{\"text\": \"a\", \"label\": 1}",
        "text,label\n",
        "text\tlabel\n",
    ]);
    prop::collection::vec(scrap, 0..24).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in scraps()) {
        let columns = Columns::default();
        for header in ["", "text,label\n", "text\tlabel\n", "["] {
            let text = format!("{header}{text}");
            let path = Path::new("any");
            for labels in Task::ALL.map(LabelUse::Optional) {
                let request = columns::Request { path, columns: &columns, labels };
                let _ = json::read(&text, request);
                let _ = delimited::read(&text, delimited::Dialect::Csv, request);
                let _ = delimited::read(&text, delimited::Dialect::Tsv, request);
            }
            InputRecords::new(text.as_bytes(), "-", InputFormat::JsonLines).for_each(drop);
        }
    }
}
