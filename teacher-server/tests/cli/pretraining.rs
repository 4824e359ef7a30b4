//! `pretrain`: what it learns and leaves, killed and gone on with, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{command, fixture, refused, stderr, stdout, teacher_server};

/// A folder with a text whose words tell one another.
struct Text(TempDir);

/// A tiny BERT with a tokenizer for English, and a tiny XLNet whose words are w5 to w59.
fn encoder(family: &str) -> String {
    let folder = match family {
        "bert" => fixture("encoder_no_pooler"),
        _ => fixture("../xlnet/language_model"),
    };
    folder.to_str().unwrap().to_owned()
}

impl Text {
    fn new() -> Self {
        let text = Self(tempfile::tempdir().unwrap());
        let subjects = ["film", "movie", "story", "plot", "cast", "scene", "actor", "play", "time"];
        let lines = |(i, subject): (usize, &&str)| {
            let word = if i % 2 == 0 { "dull" } else { "great" };
            format!("the {subject} is {word} and the {subject} is {word}\n\n")
        };
        text.write(
            "text.txt",
            &subjects.iter().enumerate().map(lines).collect::<String>().repeat(3),
        );
        let words = |i: usize| format!("w{} w{} w{} w{}\n", 5 + i, 15 + i, 25 + i, 35 + i);
        text.write("words.txt", &(0..24).map(|i| words(i % 4)).collect::<String>());
        text
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// The arguments of a short `pretrain` into `encoder`; `changes` replace a value or add a flag.
    fn pretrain(&self, family: &str, changes: &[(&str, &str)]) -> Vec<String> {
        let text = if family == "bert" { "text.txt" } else { "words.txt" };
        let mut flags = vec![
            ("--encoder", encoder(family)),
            ("--text", self.path(text)),
            ("--output", self.path("encoder")),
            ("--validation-share", "0.2".to_owned()),
            ("--epochs", "8".to_owned()),
            ("--batch-size", "8".to_owned()),
            ("--lr", "0.003".to_owned()),
            ("--max-length", "32".to_owned()),
            ("--threads", "1".to_owned()),
        ];
        for &(flag, value) in changes {
            flags.retain(|(name, _)| *name != flag);
            flags.push((flag, value.to_owned()));
        }
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("pretrain".to_owned()).chain(flags).collect()
    }

    /// What `pretrain` says when it is refused; it must not leave anything in the output folder.
    fn refused(&self, changes: &[(&str, &str)], code: i32) -> String {
        let said = refused(&args(&self.pretrain("bert", changes)), code);
        assert!(!Path::new(&self.path("encoder")).exists(), "an output folder was made");
        said
    }
}

fn args(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn lines(folder: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(folder).join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn losses(folder: &str) -> Vec<f64> {
    lines(folder).iter().map(|line| line["held_out_loss"].as_f64().unwrap()).collect()
}

fn checkpoint(folder: &str) -> PathBuf {
    Path::new(folder).join("checkpoint.safetensors")
}

#[test]
fn held_out_text_is_predicted_better_and_the_encoder_is_fine_tuned() {
    let text = Text::new();
    stdout(&teacher_server(&args(&text.pretrain("bert", &[]))));
    let folder = text.path("encoder");
    let losses = losses(&folder);
    assert_eq!(losses.len(), 9, "one before the first epoch, one after each");
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best < losses[0] - 0.5, "{losses:?}");
    for (line, loss) in lines(&folder).iter().zip(&losses) {
        let perplexity = line["perplexity"].as_f64().unwrap();
        assert!((perplexity - loss.exp()).abs() < 1e-9 * perplexity, "{line}");
    }
    assert!(!checkpoint(&folder).exists(), "a finished encoder carries no checkpoint");

    let rows =
        "{\"text\": \"dull\", \"label\": \"no\"}\n{\"text\": \"great\", \"label\": \"yes\"}\n";
    let rows = text.write("rows.jsonl", rows);
    let teacher = text.path("teacher");
    let finetune = ["finetune", "--encoder", &folder, "--train", &rows, "--dev", &rows];
    let more = ["--output", &teacher, "--epochs", "1", "--max-length", "16", "--threads", "1"];
    stdout(&teacher_server(&[finetune.as_slice(), more.as_slice()].concat()));

    // An encoder that was pre-trained begins where it ended, on the same held-out text.
    let again =
        [("--encoder", folder.as_str()), ("--output", &text.path("again")), ("--epochs", "1")];
    stdout(&teacher_server(&args(&text.pretrain("bert", &again))));
    let first = self::losses(&text.path("again"))[0];
    assert!((first - best).abs() < 1e-4, "{first} {best}");
}

#[test]
fn xlnet_learns_by_permutations_and_blocks_hold_all_text() {
    let text = Text::new();
    for blocks in [false, true] {
        let output = text.path(if blocks { "blocks" } else { "lines" });
        let mut flags = text.pretrain("xlnet", &[("--output", &output), ("--max-length", "12")]);
        if blocks {
            flags.push("--blocks".to_owned());
        }
        let output_of = teacher_server(&args(&flags));
        stdout(&output_of);
        let said = stderr(&output_of);
        // 24 lines, a fifth held out; of 4 words each, or 10 words a block, and 2 special tokens.
        let expected = if blocks {
            "texts=19 examples=8 tokens=92"
        } else {
            "texts=19 examples=19 tokens=114"
        };
        assert!(said.contains(expected), "{said}");
        let losses = losses(&output);
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(best < losses[0] - 0.3, "{losses:?}");
    }
}

#[test]
fn halves_of_a_batch_on_two_threads_teach_what_the_whole_does() {
    let text = Text::new();
    for family in ["bert", "xlnet"] {
        let [whole, halves] = ["1", "2"].map(|threads| {
            let output = text.path(&format!("{family} {threads}"));
            let changes =
                [("--output", output.as_str()), ("--threads", threads), ("--dropout", "0")];
            stdout(&teacher_server(&args(&text.pretrain(family, &changes))));
            losses(&output)
        });
        assert_eq!(whole.len(), halves.len());
        for (a, b) in whole.iter().zip(&halves) {
            // The same sums in another order, over a few steps.
            assert!((a - b).abs() < 1e-3, "{family}: {whole:?}, {halves:?}");
        }
    }
}

#[test]
fn a_killed_pre_training_goes_on_to_the_same_bytes() {
    let text = Text::new();
    for family in ["bert", "xlnet"] {
        let (whole, killed) = (text.path(&format!("{family} whole")), text.path(family));
        let long = [
            ("--epochs", "40"),
            ("--checkpoint-every", "2"),
            ("--accumulate", "2"),
            ("--batch-size", "4"),
            // Two of them compute halves of a batch.
            ("--threads", "2"),
            // A GPU adds up the gradient of a table that is output layer too in no fixed order.
            ("--device", "cpu"),
        ];
        let with = |output: &str| {
            let more = [long.as_slice(), &[("--output", output)]].concat();
            text.pretrain(family, &more)
        };
        stdout(&teacher_server(&args(&with(&whole))));
        let mut again = with(&killed);
        again.push("--resume".to_owned());
        for evaluations in [1, 5] {
            let mut child = command(&args(&again)).stderr(Stdio::null()).spawn().unwrap();
            while lines(&killed).len() < evaluations {
                assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
                thread::sleep(Duration::from_millis(2));
            }
            // SIGKILL.
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(checkpoint(&killed).exists(), "it was over before it was killed");
        }
        let resumed = teacher_server(&args(&again));
        stdout(&resumed);
        assert!(stderr(&resumed).contains("resuming"), "{}", stderr(&resumed));
        for name in ["model.safetensors", "config.json", "tokenizer.json", "metrics.jsonl"] {
            let read = |folder: &str| fs::read(Path::new(folder).join(name)).unwrap();
            assert!(read(&whole) == read(&killed), "{family}: {name} differs");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_stops_it_and_other_settings_do_not_go_on() {
    let text = Text::new();
    let diverging = text.pretrain("bert", &[("--lr", "1e30"), ("--warmup", "0")]);
    let said = refused(&args(&diverging), 1);
    assert!(said.contains("epoch 1, step 2: loss") && said.contains("lower --lr"), "{said}");
    assert!(said.contains("the weights of step 0 are in"), "{said}");
    assert!(checkpoint(&text.path("encoder")).exists());

    let said = refused(&args(&diverging), 1);
    assert!(
        said.contains("holds a pre-training that was not finished; go on with --resume"),
        "{said}"
    );
    let mut other = text.pretrain("bert", &[("--lr", "0.01"), ("--warmup", "0"), ("--seed", "2")]);
    other.push("--resume".to_owned());
    let said = refused(&args(&other), 1);
    assert!(said.contains("lr: 1e+30, now 0.01") && said.contains("seed: 1, now 2"), "{said}");
}

#[test]
fn bad_input_is_refused_by_name() {
    let text = Text::new();
    for (flag, value) in [
        ("--mask-probability", "0"),
        ("--plm-probability", "1.5"),
        ("--validation-share", "0.9"),
        ("--max-span-length", "0"),
    ] {
        let said = text.refused(&[(flag, value)], 2);
        assert!(said.contains(flag), "{said}");
    }
    let empty = text.write("empty.txt", "\n\n");
    let said = text.refused(&[("--text", &empty)], 1);
    assert!(said.contains("empty.txt is empty"), "{said}");
    let single = text.write("single.txt", "the film\n");
    let said = text.refused(&[("--text", &single)], 1);
    assert!(said.contains("single.txt: a single text leaves none to hold out"), "{said}");
    let unknown = text.write("unknown.txt", "\u{1f600}\n\u{1f601}\n\u{1f602}\n");
    let said = text.refused(&[("--text", &unknown)], 1);
    assert!(said.contains("has a word that the tokenizer knows"), "{said}");
    let latin = text.path("latin.txt");
    fs::write(&latin, b"ok\ncaf\xe9\n").unwrap();
    let said = text.refused(&[("--text", &latin)], 1);
    assert!(said.contains("latin.txt:2: not UTF-8 at byte 6"), "{said}");
    let said = text.refused(&[("--text", &text.path("absent.jsonl"))], 1);
    assert!(said.contains("absent.jsonl does not exist"), "{said}");
    let said = text.refused(&[("--max-length", "4096")], 1);
    assert!(said.contains("maximum length 4096 must lie between 3 and the encoder's"), "{said}");
}

#[test]
fn text_comes_from_columns_too_and_held_out_text_from_a_file() {
    let text = Text::new();
    let rows: String = (0..12).map(|_| "{\"body\": \"the film is great\"}\n").collect();
    let rows = text.write("rows.jsonl", &rows);
    let held_out = text.write("held_out.txt", "the play is great\nthe story is dull\n");
    let mut flags =
        text.pretrain("bert", &[("--text", &rows), ("--text-column", "body"), ("--epochs", "1")]);
    let share = flags.iter().position(|flag| flag == "--validation-share").unwrap();
    flags.drain(share..share + 2);
    flags.extend(["--validation".to_owned(), held_out]);
    let said = stderr(&teacher_server(&args(&flags)));
    assert!(said.contains("texts=12 examples=12") && said.contains("texts=2 examples=2"), "{said}");
}
