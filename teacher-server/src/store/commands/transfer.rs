//! Rows to a label file and back.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use indicatif::HumanCount;
use lectern::{
    commands::Progress,
    wire::{
        Row, TeacherCard,
        label_file::{LabelReader, LabelWriter},
    },
};
use tracing::warn;

use super::{
    super::{database::Database, folder::path_of},
    CHUNK_ROWS, StoreCommandError, difference, select,
};

/// Writes all rows of one teacher to the label file `to`.
pub fn export(
    folder: &Path,
    teacher: Option<&str>,
    to: &Path,
    out: &mut dyn Write,
) -> Result<(), StoreCommandError> {
    select::one(folder, teacher)?.look(|database| {
        let database = database?;
        let mut labels = LabelWriter::create(to, database.card())?;
        let mut progress = Progress::new("export", database.len()? as usize);
        let mut corrupt = 0;
        for chunk in database.chunks(CHUNK_ROWS) {
            let chunk = chunk?;
            corrupt += chunk.corrupt.len();
            progress.advance(chunk.rows.len(), String::new);
            labels.write(chunk.rows)?;
        }
        let rows = labels.finish()?;
        drop(progress);
        if corrupt > 0 {
            warn!(corrupt, "rows whose checksum is wrong were left out; see `store verify`");
        }
        let card = database.card();
        let (rows, fingerprint) = (HumanCount(rows), card.fingerprint.short());
        writeln!(out, "{rows} rows of {} ({fingerprint}) written to {}", card.name, to.display())?;
        Ok(())
    })
}

/// What became of a label file's rows.
#[derive(Debug, Default)]
struct Imported {
    added: u64,
    same: u64,
    differing: u64,
    largest: f32,
}

/// Adds the rows of the label file `from` to its teacher's database. A row that is there already stays as
/// it is. Interrupted, it leaves the rows it had added; done again, it goes on from there.
pub fn import(folder: &Path, from: &Path, out: &mut dyn Write) -> Result<(), StoreCommandError> {
    let mut labels = LabelReader::open(from)?;
    let database = open_for(&labels, folder, from)?;
    let mut progress = Progress::new("import", labels.rows());
    let mut imported = Imported::default();
    loop {
        let rows: Vec<Row> = labels.by_ref().take(CHUNK_ROWS).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            break;
        }
        imported.add(&database, &rows)?;
        progress.advance(rows.len(), String::new);
    }
    drop(progress);
    let Imported { added, same, differing, largest } = imported;
    let card = database.card();
    write!(
        out,
        "{} rows of {} ({}) added, {} were there already",
        HumanCount(added),
        card.name,
        card.fingerprint.short(),
        HumanCount(same + differing)
    )?;
    if differing > 0 {
        let differing = HumanCount(differing);
        write!(
            out,
            "; {differing} of these differ, by at most {largest:e}, and stay as they were"
        )?;
    }
    writeln!(out)?;
    Ok(())
}

/// The database of the file's teacher, made if it is not there.
fn open_for(
    labels: &LabelReader,
    folder: &Path,
    from: &Path,
) -> Result<Database, StoreCommandError> {
    let card = labels.card();
    let path: PathBuf = path_of(folder, &card.fingerprint);
    if !path.exists() {
        return Ok(Database::create(folder, card)?);
    }
    let database = Database::open(&path)?;
    let outputs = |card: &TeacherCard| format!("{} labels {:?}", card.task, card.labels);
    let (ours, theirs) = (outputs(database.card()), outputs(card));
    if ours != theirs {
        return Err(StoreCommandError::Labels {
            folder: folder.to_owned(),
            fingerprint: card.fingerprint.clone(),
            ours,
            file: from.to_owned(),
            theirs,
        });
    }
    Ok(database)
}

impl Imported {
    fn add(&mut self, database: &Database, rows: &[Row]) -> Result<(), StoreCommandError> {
        let contents: Vec<_> = rows.iter().map(|row| row.content).collect();
        let stored = database.get(&contents)?.rows;
        let mut new = Vec::new();
        for (row, stored) in rows.iter().zip(stored) {
            match stored {
                None => new.push(row),
                Some(stored) if stored == *row => self.same += 1,
                Some(stored) => {
                    self.differing += 1;
                    self.largest = self.largest.max(difference(&stored, row));
                }
            }
        }
        self.added += new.len() as u64;
        Ok(database.insert(new)?)
    }
}
