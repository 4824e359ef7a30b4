//! Texts without hard labels: what is made of the training texts, and what other files hold.

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Data, Teacher, json_lines, stderr, stdout, student_trainer};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_learns_from_texts_that_only_the_teacher_labels() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let (train, made) = (data.path("train.jsonl"), data.path("made.jsonl"));
    let augment = ["augment", "--data", &train, "--output", &made, "--augment", "4"];
    let counts = json(&stdout(&student_trainer(&augment)));
    let rows = json_lines(&fs::read_to_string(&made).unwrap());
    // 18 sentences of 4 words.
    assert_eq!((&counts["examples"], &counts["made"]), (&json!(18), &json!(rows.len())));
    assert_eq!(rows.len() as u64 + counts["dropped"].as_u64().unwrap(), 4 * 18);
    assert!(rows.len() > 18, "{}", rows.len());
    let texts: HashSet<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), rows.len());
    for row in &rows {
        assert!((1..=18).contains(&row["line"].as_u64().unwrap()), "{row}");
    }
    assert!(texts.iter().any(|text| text.contains("[MASK]")));

    // All that the run will ask for is known to the teacher beforehand; one text of the file is a training text.
    let lines = data.write("lines.txt", "a play\n\nthe film is dull\na scene\na cast\n");
    let texts = data.write("texts.txt", "a play\na scene\na cast\n");
    let warm = |file: &str, more: &[&str]| {
        let files = ["warm", "--teacher", &teacher.url, "--data", file];
        stdout(&student_trainer(&[&files[..], more].concat()))
    };
    warm(&train, &[]);
    warm(&made, &[]);
    warm(&texts, &["--plain"]);
    let run = [
        ("--teacher", teacher.url.as_str()),
        ("--loss", "mse"),
        ("--augment", "4"),
        ("--unlabelled", &lines),
        ("--unlabelled-ratio", "0.1"),
        ("--epochs", "3"),
        ("--label-memory-mb", "1"),
    ];
    let summary = json(&stdout(&data.train(&run)));
    let counts = json!({"labelled": 18, "augmented": rows.len(), "unlabelled": 3});
    assert_eq!(summary["train"], counts);
    // In three epochs each text is asked for once: of the three without labels two in the first, rounded up from 1.8,
    // the last and the first again in the second.
    assert_eq!(summary["stream"]["asked"], 18 + rows.len() + 3);
    assert_eq!(summary["trained_without_soft_label"], 0);
    let again = json!({"text": "the [MASK] is dull"});
    let input = data.write("input.jsonl", &format!("{again}\n"));
    let run = data.path("run");
    stdout(&student_trainer(&["predict", "--run", &run, &input, "--threads", "1"]));
    let tokenizer = fs::read_to_string(data.run().join("tokenizer.json")).unwrap();
    assert_eq!(json(&tokenizer)["added_tokens"][0]["content"], "[MASK]");
}

/// The special tokens in the tokenizer of the run folder.
fn added(data: &Data) -> Vec<String> {
    let tokenizer = json(&fs::read_to_string(data.run().join("tokenizer.json")).unwrap());
    let added = tokenizer["added_tokens"].as_array().unwrap().iter();
    added.map(|token| token["content"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_student_keeps_its_own_mask_token_beside_a_teacher_of_another() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let roberta = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families/roberta");
    let taught = ("--teacher", teacher.url.as_str());
    let run = |flags: &[(&str, &str)]| {
        let _before = fs::remove_dir_all(data.run());
        let counts = json(&stdout(&data.train(&[&[taught, ("--epochs", "1")], flags].concat())));
        assert!(counts["train"]["augmented"].as_u64().unwrap() > 0, "{counts}");
        added(&data)
    };
    let encoder = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
    let from = |folder| [("--student", "transformer"), ("--init-from", folder), ("--layers", "0")];
    let short = ("--max-length", "16");
    let roberta_path = roberta.to_str().unwrap();
    assert_eq!(run(&[&from(roberta_path)[..], &[short]].concat()), encoder);
    assert_eq!(run(&[("--tokenizer", roberta_path)]), encoder);
    assert_eq!(run(&[("--augment", "2"), ("--augment-mask-token", "<mask>")]), ["[MASK]"]);

    // Without one, a table of words takes the teacher's, and an encoder none.
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(roberta.join(file), copy.path().join(file)).unwrap();
    }
    let text = fs::read_to_string(roberta.join("tokenizer.json")).unwrap();
    let mut tokenizer = json(&text.replace("<mask>", "<gap>"));
    tokenizer["added_tokens"].as_array_mut().unwrap().truncate(4);
    fs::write(copy.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let copy = copy.path().to_str().unwrap();
    let taken = ["<s>", "<pad>", "</s>", "<unk>", "[MASK]"];
    assert_eq!(run(&[("--tokenizer", copy)]), taken);
    fs::remove_dir_all(data.run()).unwrap();
    let unmasked = [&from(copy)[..], &[short, taught]].concat();
    let message = data.refused(&unmasked, 2);
    assert!(message.contains(&format!("--init-from {copy}: its tokenizer has no mask token")));
    assert!(message.contains("--augment-mask 0") && message.contains("--augment 0"), "{message}");
    assert_eq!(run(&[&unmasked[..], &[("--augment-mask", "0")]].concat()), taken[..4]);
}

#[test]
fn pairs_stay_pairs() {
    let data = Data::new();
    let row = json!({"text": "the film is great", "text_pair": "it is a great film"});
    let pairs = data.write("pairs.jsonl", &format!("{row}\n"));
    let made = data.path("made.jsonl");
    stdout(&student_trainer(&["augment", "--data", &pairs, "--output", &made]));
    let rows = json_lines(&fs::read_to_string(&made).unwrap());
    let same = |key: &str| rows.iter().filter(|made| made[key] == row[key]).count();
    // In turns the first, the second or both are varied, 20 times in all; some of these are dropped.
    for key in ["text", "text_pair"] {
        assert!((1..=14).contains(&same(key)), "{key}: {}", same(key));
    }
}

#[test]
fn texts_that_cannot_be_learnt_from_are_refused_before_training() {
    let data = Data::new();
    let lines = data.write("lines.txt", "a play\n");
    let teacher = ("--teacher", "http://127.0.0.1:1");
    let nowhere = ("--train", "nowhere.jsonl");
    for (flags, said) in [
        (&[("--augment", "3")][..], "--augment: only a teacher has labels"),
        (&[("--unlabelled", "lines.txt")], "--unlabelled: only a teacher has labels"),
        (&[teacher, ("--unlabelled-ratio", "1")], "belongs to --unlabelled FILE"),
        (&[teacher, ("--unlabelled", "x.txt"), ("--unlabelled-ratio", "0")], "must be positive"),
        (&[("--augment-mask", "0.2")], "--augment-mask belongs to --augment TEXTS"),
        (&[teacher, ("--augment", "0"), ("--augment-seed", "2")], "--augment-seed belongs"),
        (&[teacher, ("--augment", "3"), ("--augment-pos", "0.95")], "at most 1"),
        (&[teacher, ("--augment", "3"), ("--augment-ngram", "2")], "--augment-ngram 2"),
        (&[teacher, ("--augment", "3"), ("--augment-mask-token", "")], "must be a token"),
    ] {
        let message = data.refused(&[flags, &[nowhere]].concat(), 2);
        assert!(message.contains(said), "{said}: {message}");
    }
    let run = |file: &str| data.refused(&[teacher, ("--loss", "mse"), ("--unlabelled", file)], 1);
    assert!(run("nowhere.txt").contains("nowhere.txt does not exist"));
    assert!(run(&data.write("empty.txt", "\n \n")).contains("empty.txt is empty"));
    for (output, augment, said) in [
        (lines.as_str(), "3", "must be another file than --data"),
        ("made.jsonl", "0", "--augment 0: must be at least 1"),
    ] {
        let args = ["augment", "--data", &lines, "--output", output, "--augment", augment];
        let output = student_trainer(&args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
}

#[test]
fn a_text_without_a_second_one_does_not_join_pairs() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let row = |label: &str| {
        let pair = json!({"text": "a film", "text_pair": format!("is {label}"), "label": label});
        format!("{pair}\n")
    };
    let rows: String = ["negative", "neutral", "positive"].map(row).concat();
    let pairs = data.write("pairs.jsonl", &rows);
    let lines = data.write("lines.txt", "\na play\n");
    let flags = [
        ("--teacher", teacher.url.as_str()),
        ("--loss", "mse"),
        ("--train", &pairs),
        ("--dev", &pairs),
        ("--unlabelled", &lines),
    ];
    let message = data.refused(&flags, 1);
    assert!(
        message.contains("lines.txt:2: no second text") && message.contains("all have one"),
        "{message}"
    );
}
