//! What is stored: a table for people, JSON for programs.

use std::{io::Write, path::Path, time::UNIX_EPOCH};

use indicatif::{BinaryBytes, HumanCount, HumanDuration};
use lectern::wire::TeacherCard;
use serde_json::{Value, json};

use super::{
    super::{database::DatabaseError, folder::Listed},
    StoreCommandError, select,
};

/// What is known of one database.
struct Stats {
    listed: Listed,
    content: Result<(TeacherCard, u64), DatabaseError>,
}

/// Writes a line for each database of `folder`, or with `as_json` an array.
pub fn stats(folder: &Path, as_json: bool, out: &mut dyn Write) -> Result<(), StoreCommandError> {
    let databases: Vec<Stats> = select::all(folder)?.into_iter().map(Stats::read).collect();
    if as_json {
        let databases: Vec<Value> = databases.iter().map(Stats::to_json).collect();
        writeln!(out, "{:#}", Value::from(databases))?;
        return Ok(());
    }
    let header = ["teacher", "fingerprint", "labels", "rows", "size", "last used"];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(databases.iter().map(Stats::line));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            // Names to the left, numbers to the right.
            if (2..5).contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:width$}")
            }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

impl Stats {
    fn read(listed: Listed) -> Self {
        let content = listed.look(|database| {
            let database = database?;
            Ok((database.card().clone(), database.len()?))
        });
        Self { listed, content }
    }

    fn line(&self) -> [String; 6] {
        let (name, labels, rows) = match &self.content {
            Ok((card, rows)) => {
                (card.name.clone(), card.labels.len().to_string(), HumanCount(*rows).to_string())
            }
            Err(DatabaseError::InUse { .. }) => ("in use".to_owned(), String::new(), String::new()),
            Err(_) => ("unreadable".to_owned(), String::new(), String::new()),
        };
        let age = HumanDuration(self.listed.unused_for());
        let fingerprint = self.listed.fingerprint.short().to_owned();
        [
            name,
            fingerprint,
            labels,
            rows,
            BinaryBytes(self.listed.bytes).to_string(),
            format!("{age} ago"),
        ]
    }

    fn to_json(&self) -> Value {
        let seconds =
            self.listed.used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut json = json!({
            "fingerprint": self.listed.fingerprint,
            "path": self.listed.path,
            "bytes": self.listed.bytes,
            "last_used": seconds,
            "in_use": matches!(self.content, Err(DatabaseError::InUse { .. })),
        });
        match &self.content {
            Ok((card, rows)) => {
                json["rows"] = json!(rows);
                json["teacher"] = json!(card);
            }
            Err(cause) => json["error"] = json!(cause.to_string()),
        }
        json
    }
}
