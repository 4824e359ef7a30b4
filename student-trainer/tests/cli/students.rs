//! Every student from its flags to its answers.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Data, json_lines, stdout, student_trainer};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn model(data: &Data, run: &str) -> Value {
    let text = fs::read_to_string(Path::new(&data.path(run)).join("model.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Labels of the run's answers to some texts.
fn labels(data: &Data, run: &str, input: &Value) -> Vec<Value> {
    let lines: Vec<String> = input.as_array().unwrap().iter().map(Value::to_string).collect();
    let lines = lines.join(
        "
",
    ) + "
";
    let (input, run) = (data.write("input.jsonl", &lines), data.path(run));
    let answers = stdout(&student_trainer(&["predict", "--run", &run, &input, "--threads", "1"]));
    json_lines(&answers).iter().map(|line| line["label"].clone()).collect()
}

#[test]
fn every_student_is_trained_with_its_sizes_and_answers_from_its_folder() {
    let data = Data::new();
    let roberta = fixture("families/roberta");
    let (distilbert, bert) =
        (fixture("families/distilbert"), fixture("bert/with_pooler/config.json"));
    for (student, sizes, kept) in [
        ("bilstm", &[("--hidden", "9"), ("--num-layers", "2")][..], ("layers", json!(2))),
        ("bigru", &[("--embedding", "20"), ("--inner", "9")], ("inner", json!(9))),
        (
            "textcnn",
            &[("--filter-widths", "2,3"), ("--filters", "12"), ("--embedding", "20")],
            ("widths", json!([2, 3])),
        ),
        ("dpcnn", &[("--filters", "12"), ("--num-layers", "2")], ("filters", json!(12))),
        (
            "fasttext",
            &[("--buckets", "500"), ("--student-dropout", "0.1")],
            ("buckets", json!(500)),
        ),
        ("average", &[("--inner", "30"), ("--words", "characters")], ("inner", json!(30))),
        (
            "transformer",
            &[("--init-from", &roberta), ("--layers", "1"), ("--max-length", "16")],
            ("dropout", json!(0.1)),
        ),
        (
            "transformer",
            &[("--encoder-config", &distilbert), ("--num-layers", "1"), ("--max-length", "48")],
            ("dropout", json!(0.1)),
        ),
        (
            "transformer",
            &[("--encoder-config", &bert), ("--hidden", "48"), ("--max-length", "16")],
            ("classifier", json!({"head": "linear", "pooling": "mean"})),
        ),
        (
            "average",
            &[("--init-embeddings", &roberta), ("--embedding", "8")],
            ("embedding", json!(8)),
        ),
        ("bilstm-paper", &[("--tokenizer", &roberta), ("--hidden", "9")], ("hidden", json!(9))),
    ] {
        let run = data.path(student);
        let _before = fs::remove_dir_all(&run);
        let flags = [&[("--student", student), ("--output", &run), ("--epochs", "2")], sizes];
        stdout(&data.train(&flags.concat()));
        assert_eq!(model(&data, student)[kept.0], kept.1, "{student}");
        let input = json!([{"text": "the plot is great"}, {"text": "dull"}]);
        assert_eq!(labels(&data, student, &input).len(), 2, "{student}");
    }
}

fn logits(lines: &[Value]) -> Vec<Vec<f32>> {
    lines.iter().map(|line| serde_json::from_value(line["logits"].clone()).unwrap()).collect()
}

#[test]
fn a_fresh_transformer_follows_seed_and_tokenizer_and_its_folder_answers_as_it_was_judged() {
    let data = Data::new();
    let bert = fixture("bert/with_pooler");
    let train = |name: &str, more: &[(&str, &str)]| {
        let output = data.path(name);
        let flags = [
            ("--student", "transformer"),
            ("--encoder-config", &bert),
            ("--num-layers", "1"),
            ("--hidden", "16"),
            ("--max-length", "16"),
            ("--output", &output),
            ("--epochs", "1"),
        ];
        stdout(&data.train(&[&flags, more].concat()));
        fs::read(format!("{output}/best.safetensors")).unwrap()
    };
    let first = train("first", &[]);
    // Not assert_eq: it would print all of it.
    assert!(first == train("again", &[]));
    assert!(first != train("other", &[("--seed", "2")]));
    train("words", &[("--words", "unicode")]);
    let encoder = |run: &str| model(&data, run)["encoder"].clone();
    let sizes = ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"];
    assert_eq!(sizes.map(|name| encoder("first")[name].clone()), [1, 16, 1, 32].map(Value::from));
    // The tokenizer's; and 11 words, padding, the unknown one and the mask.
    let vocabulary = |run: &str| encoder(run)["vocab_size"].clone();
    assert_eq!((vocabulary("first"), vocabulary("words")), (json!(155), json!(14)));

    for run in ["first", "words"] {
        let judged = format!("{}/dev_predictions.jsonl", data.path(run));
        let judged = json_lines(&fs::read_to_string(judged).unwrap());
        let dev = data.path("dev.jsonl");
        let args = ["predict", "--run", &data.path(run), &dev, "--threads", "1"];
        let answers = json_lines(&stdout(&student_trainer(&args)));
        assert_eq!(judged.len(), 6);
        assert_eq!(logits(&judged), logits(&answers), "{run}");
    }
}

#[test]
fn word_vectors_decide_the_width_and_their_coverage_is_in_the_summary() {
    let data = Data::new();
    let vectors = data.write("vectors.txt", "the 1 0 2\nGreat 0 1 0\nfilm 1 1 1\nabsent 0 0 0\n");
    let printed = stdout(&data.train(&[("--vectors", &vectors), ("--min-count", "7")]));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    // "the" and "is" 18 times, "great" 6 and "film" 3 times for their vectors, and the unknown word; of 72 tokens
    // 27 have vectors.
    assert_eq!(summary["word_vectors"], json!({"vocabulary": 0.6, "tokens": 0.375}));
    let model = model(&data, "run");
    // Padding and mask besides.
    assert_eq!((&model["vocabulary"], &model["embedding"]), (&json!(7), &json!(3)));
    // As the paper's.
    assert_eq!(model["channels"], json!("both"));
    let (with, table) = (summary["parameters"].as_u64().unwrap(), 7 * 3);
    let static_alone = data.path("static");
    let printed = stdout(&data.train(&[
        ("--vectors", &vectors),
        ("--vectors-mode", "static"),
        ("--min-count", "7"),
        ("--output", &static_alone),
    ]));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    // The tuned table, and the input weights of its half: 2 directions of 4 gates of 150 units.
    let fewer = table + 2 * 4 * 150 * 3;
    assert_eq!(summary["parameters"].as_u64().unwrap(), with - fewer);
}

#[test]
fn pairs_are_compared_and_chinese_words_are_found_again_after_loading() {
    let data = Data::new();
    let rows: String = ["北京大学", "清华大学", "电影", "天气"]
        .iter()
        .flat_map(|word| {
            let same = json!({"text": format!("我来到{word}"), "text_pair": word, "label": "same"});
            let other = json!({"text": "我来到北京", "text_pair": word, "label": "other"});
            [format!("{same}\n"), format!("{other}\n")]
        })
        .collect();
    let pairs = data.write("pairs.jsonl", &rows);
    let flags = [("--train", pairs.as_str()), ("--dev", &pairs), ("--words", "auto")];
    let more = [("--epochs", "60"), ("--batch-size", "8"), ("--hidden", "20")];
    stdout(&data.train(&[&flags[..], &more].concat()));
    let model = model(&data, "run");
    assert_eq!((&model["siamese"], &model["segmentation"]), (&json!(true), &json!("jieba")));
    let tokenizer = fs::read_to_string(data.run().join("tokenizer.json")).unwrap();
    assert!(tokenizer.contains("清华大学") && tokenizer.contains("[MASK]"), "{tokenizer}");
    let input = json!([
        {"text": "我来到电影", "text_pair": "电影"},
        {"text": "我来到北京", "text_pair": "电影"},
    ]);
    assert_eq!(labels(&data, "run", &input), ["same", "other"]);
}

#[test]
fn a_students_settings_that_cannot_be_are_refused_before_training() {
    let data = Data::new();
    let roberta = fixture("families/roberta");
    let (bert, fresh) = (fixture("bert/with_pooler"), ("--student", "transformer"));
    let nameless = data.write("nameless.json", "{}");
    let without = data.path("without");
    fs::create_dir(&without).unwrap();
    fs::copy(format!("{bert}/config.json"), format!("{without}/config.json")).unwrap();
    let vectors = data.write("vectors.txt", "the 1 0 2\n");
    let foreign = data.write("foreign.txt", "le 1 0 2\n");
    for (flags, code, said) in [
        (
            &[("--student", "average"), ("--hidden", "9")][..],
            2,
            "--hidden belongs to --student bilstm",
        ),
        (&[("--student", "transformer")], 2, "--student transformer needs --init-from DIR"),
        (
            &[("--student", "transformer"), ("--encoder-config", "nowhere")],
            2,
            "--encoder-config nowhere: no such file or folder",
        ),
        (&[fresh, ("--encoder-config", &without)], 1, "give --tokenizer, or --words"),
        (
            &[fresh, ("--encoder-config", &bert), ("--hidden", "40")],
            1,
            "bert/with_pooler/config.json: a head has 16 units there, of which --hidden 40 is",
        ),
        (&[fresh, ("--encoder-config", &bert)], 1, "choose --max-length 64"),
        (&[fresh, ("--encoder-config", &nameless)], 1, "nameless.json: has no model_type"),
        (&[("--vectors", "nowhere.txt")], 2, "--vectors nowhere.txt: no such file"),
        (&[("--vectors-mode", "static")], 2, "give --vectors or --init-embeddings"),
        (&[("--vectors", &vectors), ("--embedding", "5")], 2, "have 3 numbers"),
        (&[("--tokenizer", &roberta), ("--words", "jieba")], 2, "exclude each other"),
        (&[("--vectors", &foreign)], 1, "has none of the words"),
        (
            &[("--student", "transformer"), ("--init-from", &roberta), ("--layers", "7")],
            1,
            "it has no layer 7",
        ),
        (&[("--init-embeddings", &roberta)], 1, "--embedding 300 is wider"),
        (&[("--student-dropout", "1")], 2, "--student-dropout 1"),
    ] {
        let message = data.refused(flags, code);
        assert!(message.contains(said), "{flags:?}: {message}");
    }
}
