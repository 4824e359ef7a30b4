//! What a run's folder is called: after its own options, the same on every machine.

use toml::{Table, Value};

/// Longest name in bytes, with room for the endings of the files beside the folder; file systems take 255.
const LONGEST: usize = 160;

/// `option=value` of each option in order, `base` without any. Where a value had to be changed to be part of a file's name, or
/// the whole is too long, a hash of the options tells it from others.
pub(super) fn folder_name(options: &Table) -> String {
    if options.is_empty() {
        return "base".to_owned();
    }
    let mut exact = true;
    let part = |(option, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Of a path, the file says most.
        let last = text.rsplit('/').next().unwrap_or_default();
        let safe: String = last.chars().map(|c| if is_safe(c) { c } else { '-' }).collect();
        exact &= safe == text;
        format!("{option}={safe}")
    };
    let mut name = options.iter().map(part).collect::<Vec<_>>().join(",");
    if name.len() > LONGEST {
        exact = false;
        let end = (0..=LONGEST).rev().find(|&end| name.is_char_boundary(end));
        name.truncate(end.unwrap_or_default());
    }
    if !exact {
        let hash = blake3::hash(options.to_string().as_bytes()).to_hex();
        name = format!("{name}-{}", &hash[..6]);
    }
    name
}

/// Whether it can be a folder's name as it is.
pub(super) fn is_folder_name(name: &str) -> bool {
    let safe = name.chars().all(|c| is_safe(c) || "=,".contains(c));
    safe && !name.is_empty() && !name.starts_with('.') && name.len() <= LONGEST
}

fn is_safe(c: char) -> bool {
    c.is_alphanumeric() || ".-_".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(options: &str) -> String {
        folder_name(&options.parse().unwrap())
    }

    #[test]
    fn names_tell_options_apart_and_can_be_files() {
        assert_eq!(name("loss = 'kl'\ntemperature = 2.0"), "loss=kl,temperature=2.0");
        let (one, other) = (name("train = 'a/x y.csv'"), name("train = 'b/x y.csv'"));
        assert!(one.starts_with("train=x-y.csv-") && one != other, "{one} {other}");
        assert_eq!(one, name("train = 'a/x y.csv'"));
        let long = name(&format!("train = '{}'", "字".repeat(200)));
        assert!(long.len() <= LONGEST + 7 && long.starts_with("train=字"), "{long}");
        assert!(is_folder_name(&name("lr = 0.1")) && is_folder_name(&one));
    }

    #[test]
    fn a_given_name_stays_within_the_output() {
        for bad in ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a:b"] {
            assert!(!is_folder_name(bad), "{bad}");
        }
        assert!(is_folder_name("distilled-5_seeds") && is_folder_name("蒸馏"));
    }
}
