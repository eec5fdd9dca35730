//! The file in which asynchronous calls outlive a restart of the emulator: one table in SQLite.
//!
//! A call is stored before its caller reads 202. A file that is damaged, or is of another program, is set aside under
//! another name and named in a warning; it is never emptied.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, params};

use super::book::Task;
use crate::error::{Error, Result};

/// Stands in the head of the file, so that it can be told from those of other programs: "fcem".
const APPLICATION_ID: i32 = 0x6663_656d;
/// The version of the table.
const VERSION: i32 = 1;

/// The file.
pub struct Store {
    db: Mutex<Connection>,
    path: PathBuf,
}

/// Why a file cannot be used.
enum Unusable {
    /// It is damaged or of another kind: the cause in words.
    Foreign(String),
    /// Something else is wrong, so nothing is said about its content.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(cause: rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Foreign(cause.to_string()),
            _ => Self::Failed(cause),
        }
    }
}

impl Store {
    /// Opens the file, or makes it. A file that is no store is set aside; `notice` gets a sentence that says where.
    ///
    /// # Errors
    /// If another emulator uses the file, or it cannot be opened, made or set aside.
    pub fn open(path: &Path, notice: &mut dyn FnMut(&str)) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|cause| Error::failed("make", folder.display(), cause))?;
        }
        // SQLite would delete the log of a file that is gone, and with it the newest calls.
        let log = std::fs::metadata(with_end(path, "-wal")).is_ok_and(|log| log.len() > 0);
        let connected = match log && !path.exists() {
            true => Err(Unusable::Foreign("the file is gone, and only its log is there".to_owned())),
            false => connect(path),
        };
        let db = match connected {
            Ok(db) => db,
            Err(Unusable::Failed(cause)) => return Err(cannot_open(path, &cause)),
            Err(Unusable::Foreign(why)) => {
                let aside = set_aside(path)?;
                notice(&format!(
                    "the store {} cannot be read ({why}): it is kept as {}, and a new one is begun",
                    path.display(),
                    aside.display()
                ));
                connect(path).map_err(|unusable| match unusable {
                    Unusable::Failed(cause) => cannot_open(path, &cause),
                    Unusable::Foreign(why) => Error::new(format!("the new store {} is damaged: {why}", path.display())),
                })?
            }
        };
        Ok(Self { db: Mutex::new(db), path: path.to_owned() })
    }

    /// The calls of a function.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(&self, function: &str) -> Result<Vec<Task>> {
        let load = || -> rusqlite::Result<Vec<Task>> {
            let db = self.db();
            let mut select = db.prepare("SELECT record, payload, result FROM task WHERE function = ?1")?;
            let rows = select.query_map([function], |row| {
                let (record, payload, result): (String, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let task: Task = serde_json::from_str(&record).map_err(|cause| {
                    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(cause))
                })?;
                Ok(Task { payload: payload.into(), result: result.into(), ..task })
            })?;
            rows.collect()
        };
        load().map_err(|cause| Error::failed("read", self.path.display(), cause))
    }

    /// Stores a call as it is now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, function: &str, task: &Task) -> Result<()> {
        let save = || -> rusqlite::Result<usize> {
            let record = serde_json::to_string(task)
                .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(Box::new(cause)))?;
            let db = self.db();
            let mut insert = db.prepare(
                "INSERT INTO task (function, id, record, payload, result) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (function, id) DO UPDATE SET record = ?3, result = ?5",
            )?;
            insert.execute(params![function, task.id, record, task.payload.as_ref(), task.result.as_ref()])
        };
        save().map(drop).map_err(|cause| Error::failed("write", self.path.display(), cause))
    }

    /// Removes a call.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn remove(&self, function: &str, id: &str) -> Result<()> {
        let removed = self.db().execute("DELETE FROM task WHERE function = ?1 AND id = ?2", [function, id]);
        removed.map(drop).map_err(|cause| Error::failed("write", self.path.display(), cause))
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path) -> std::result::Result<Connection, Unusable> {
    let db = Connection::open(path)?;
    db.busy_timeout(std::time::Duration::ZERO)?;
    // Held until the end of this process, however it ends.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let id: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 {
        if id != APPLICATION_ID {
            return Err(Unusable::Foreign("it is a database of another program".to_owned()));
        }
        if version != VERSION {
            return Err(Unusable::Foreign(format!("its version is {version}, this emulator has {VERSION}")));
        }
        let checked: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if checked != "ok" {
            return Err(Unusable::Foreign(checked));
        }
    }
    // With a log of its own, a kill at any moment leaves the last stored state. Only a power cut may lose the newest.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         CREATE TABLE IF NOT EXISTS task (
             function TEXT NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL, payload BLOB NOT NULL,
             result BLOB NOT NULL, PRIMARY KEY (function, id)
         ) WITHOUT ROWID;
         COMMIT;"
    ))?;
    // Every record must be readable, else the file is set aside before anything is changed in it.
    let mut select = db.prepare("SELECT record FROM task")?;
    let records = select.query_map([], |row| row.get::<_, String>(0))?;
    for record in records {
        serde_json::from_str::<Task>(&record?).map_err(|cause| Unusable::Foreign(format!("a record: {cause}")))?;
    }
    drop(select);
    Ok(db)
}

fn cannot_open(path: &Path, cause: &rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::new(format!(
            "another fc-emulator uses the store {}: end it, or give `--store FILE` or `--memory`",
            path.display()
        )),
        _ => Error::new(format!(
            "failed to open the store {}: {cause}; give another one by `--store FILE`, or `--memory`",
            path.display()
        )),
    }
}

/// Renames the file and the files beside it that belong to it. Returns the new name.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let is_free = |name: &PathBuf| !name.exists() && !with_end(name, "-wal").exists();
    let free = (1..).map(|number| with_end(path, &format!(".damaged-{number}"))).find(is_free);
    let aside = free.unwrap_or_else(|| with_end(path, ".damaged"));
    for end in ["", "-wal", "-shm"] {
        let from = with_end(path, end);
        if from.exists() {
            let renamed = std::fs::rename(&from, with_end(&aside, end));
            renamed.map_err(|cause| Error::failed("set aside", from.display(), cause))?;
        }
    }
    Ok(aside)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn task(id: &str) -> Task {
        let mut task = Task::new(id.to_owned(), "r".to_owned(), Bytes::from_static(b"\0\xff"), 7, Duration::ZERO);
        task.result = Bytes::from_static(b"done");
        task
    }

    fn open(path: &Path) -> (Store, String) {
        let mut said = String::new();
        let store = Store::open(path, &mut |text| said.push_str(text)).unwrap();
        (store, said)
    }

    #[test]
    fn calls_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below").join("store.db");
        let (store, said) = open(&path);
        store.save("f", &task("a")).unwrap();
        store.save("f", &Task { tries: 2, ..task("a") }).unwrap();
        store.save("f", &task("b")).unwrap();
        store.save("g", &task("a")).unwrap();
        store.remove("f", "b").unwrap();
        let error = Store::open(&path, &mut |_| ()).map(drop).unwrap_err().to_string();
        assert!(error.contains("another fc-emulator uses the store"), "{error}");
        drop(store);
        let (store, again) = open(&path);
        assert_eq!(store.load("f").unwrap(), [Task { tries: 2, ..task("a") }]);
        assert_eq!((said.as_str(), again.as_str()), ("", ""));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_set_aside_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let text = b"no database at all, but long enough that somebody could miss it ".repeat(99);
        std::fs::write(&path, &text).unwrap();
        let (store, said) = open(&path);
        assert!(said.contains("store.db.damaged-1"), "{said}");
        assert_eq!(std::fs::read(folder.path().join("store.db.damaged-1")).unwrap(), text);
        for number in 0..200 {
            store.save("f", &task(&number.to_string())).unwrap();
        }
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let (store, said) = open(&path);
        assert!(said.contains("store.db.damaged-2"), "{said}");
        assert_eq!(std::fs::read(folder.path().join("store.db.damaged-2")).unwrap(), bytes);
        assert_eq!(store.load("f").unwrap(), []);
        drop(store);
        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(open(&path).1.contains("another program"));
        assert!(folder.path().join("store.db.damaged-3").exists());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(folder.path().join("store.db-wal"), b"log").unwrap();
        assert!(open(&path).1.contains("only its log is there"));
        assert_eq!(std::fs::read(folder.path().join("store.db.damaged-4-wal")).unwrap(), b"log");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = Store::open(Path::new("/proc/none/store.db"), &mut |_| ()).map(drop).unwrap_err().to_string();
        assert!(error.contains("/proc/none"), "{error}");
    }
}
