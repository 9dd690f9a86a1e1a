//! Rotation: the log takes a name of its own, a new one is begun in its place, and old ones are deleted.
//!
//! In an order in which every step leaves the log whole, so that a server that is killed between any two of them has
//! lost, repeated and split nothing:
//!
//! 1. With `-sync`, the log is synced: what it holds is on the disk, whatever it is called.
//! 2. The new piece's number is written down, so that it is not given twice. Killed now, the server leaves it unused.
//! 3. The log is renamed. Killed now, it leaves no log, and the next start begins one.
//! 4. A new log is opened and locked. With `-sync`, it and the folder that has both names are synced.
//! 5. Pieces that are too many are deleted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::pieces::Pieces;
use common::record;
use rustix::fs::Access;
use rustix::io::Errno;
use time::OffsetDateTime;

use super::{CommitError, Damage, Journal, Opening, Storage};
use crate::clock;

/// How much of a log is looked through for its first record, in bytes: a power cut may have left something before it.
const BEGINNING_BYTES: u64 = 64 << 10;

/// Renames logs to pieces.
#[derive(Debug)]
pub struct Rotation {
    path: PathBuf,
    /// Times in records that tell no zone are UTC.
    utc: bool,
    /// A number that was written down in this file, and not used, since the log could not be renamed.
    unused: Option<(PathBuf, u64)>,
}

/// A log was rotated.
#[derive(Debug)]
pub struct Rotated {
    /// What it is called now.
    pub piece: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// What was found in the new log: it was there already, if there is something.
    pub damage: Damage,
}

/// Why a log was not rotated, or not wholly.
#[derive(Debug)]
pub enum RotationError {
    /// Nothing has changed.
    Refused(io::Error),
    /// It has the name of this piece now, but no new one could be opened: the journal goes on in it.
    Unopened(PathBuf, io::Error),
    /// See [`CommitError::Fatal`].
    Fatal(io::Error),
}

impl From<CommitError> for RotationError {
    fn from(error: CommitError) -> Self {
        match error {
            // Of what is torn nothing is claimed, and the log stays as it is.
            CommitError::Refused(error) | CommitError::Unknown(error) => Self::Refused(error),
            CommitError::Fatal(error) => Self::Fatal(error),
        }
    }
}

impl From<io::Error> for RotationError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl Rotation {
    /// Rotation of the log at `path`, which need not be there yet; changes nothing. Of a link, the file is meant
    /// to which it leads. Times in records that tell no zone are UTC if `utc`, else local.
    ///
    /// What would make every rotation fail is an error now: a folder in which nothing can be made, a name that
    /// leaves no room for that of a piece, a damaged file of the number.
    pub fn new(path: &Path, utc: bool) -> io::Result<Self> {
        let pieces = pieces_of(path)?;
        rustix::fs::access(pieces.folder(), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| explain(pieces.folder(), error))?;
        let longest = pieces.path(&time_in_name(OffsetDateTime::UNIX_EPOCH), u64::MAX);
        match longest.symlink_metadata() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let number_path = pieces.number_path();
        let file = not_found(File::open(&number_path));
        if let Some(file) = file.map_err(|error| explain(&number_path, error))? {
            read_number(&file, &number_path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            utc,
            unused: None,
        })
    }

    /// Renames the log that `journal` writes, and has it go on in a new one. It is not empty, and its name leads to
    /// it; else nothing is done.
    pub fn rotate<F: Storage>(
        &mut self,
        journal: &mut Journal<F>,
    ) -> Result<Rotated, RotationError> {
        let (path, pieces) = (target(&self.path)?, pieces_of(&self.path)?);
        journal.take_back()?;
        let length = journal.length()?;
        if length == 0 || !journal.is_at(&path) {
            return Err(io::Error::other("it is empty, or was moved").into());
        }
        // Killed later, nobody would give it back.
        journal.release_reserve();
        if journal.sync {
            journal.file.sync().map_err(RotationError::Fatal)?;
        }
        let begun = self.begun(journal)?.unwrap_or_else(OffsetDateTime::now_utc);
        let number = self.take_number(&pieces, journal.sync)?;
        let piece = pieces.path(&time_in_name(begun), number);
        if let Err(error) = fs::rename(&path, &piece) {
            self.unused = Some((pieces.number_path(), number));
            return Err(error.into());
        }
        self.unused = None;
        debug_assert!(length > 0, "an empty log is not rotated");
        match journal.begin_anew(&path) {
            Ok(damage) => Ok(Rotated {
                piece,
                length,
                damage,
            }),
            Err(CommitError::Fatal(error)) => Err(RotationError::Fatal(error)),
            Err(CommitError::Refused(error) | CommitError::Unknown(error)) => {
                Err(RotationError::Unopened(piece, error))
            }
        }
    }

    /// The time of the log's first record; none if none is found.
    pub fn begun<F: Storage>(&self, journal: &Journal<F>) -> io::Result<Option<OffsetDateTime>> {
        let length = journal.length()?.min(BEGINNING_BYTES);
        let mut beginning = vec![0; length as usize];
        journal.file.read_at(&mut beginning, 0)?;
        let now = OffsetDateTime::now_utc();
        let mut lines = beginning.split(|byte| *byte == b'\n');
        Ok(lines.find_map(|line| {
            let time = std::str::from_utf8(record::time(line)?).ok()?;
            clock::moment(time, self.utc, now)
        }))
    }

    /// Deletes all pieces but the last `keep`; how many these were.
    pub fn delete_old(&self, keep: usize) -> io::Result<u64> {
        let pieces = pieces_of(&self.path)?.find()?;
        let mut deleted = 0;
        for piece in &pieces[..pieces.len().saturating_sub(keep)] {
            let gone = not_found(fs::remove_file(&piece.path));
            let gone = gone.map_err(|error| explain(&piece.path, error))?;
            deleted += u64::from(gone.is_some());
        }
        Ok(deleted)
    }

    /// The number of the next piece, written down as given.
    fn take_number(&self, pieces: &Pieces, sync: bool) -> io::Result<u64> {
        let path = pieces.number_path();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(|error| explain(&path, error))?;
        let given = read_number(&file, &path)?;
        // The file may have been deleted, or lost in a power cut.
        let there = last_number(pieces)?;
        let unused = self.unused.as_ref().filter(|(of, _)| *of == path);
        let number = match unused {
            Some((_, number)) if *number == given && there < given => given,
            _ => {
                let next = given.max(there).checked_add(1);
                next.ok_or_else(|| explain(&path, Errno::OVERFLOW))?
            }
        };
        debug_assert!(number > there && number >= given && number > 0);
        // In place and always as long, so it is there whole whenever the server is killed.
        file.write_all_at(format!("{number:020}\n").as_bytes(), 0)
            .and_then(|()| if sync { file.sync_data() } else { Ok(()) })
            .map_err(|error| explain(&path, error))?;
        Ok(number)
    }
}

impl<F: Storage> Journal<F> {
    /// Goes on in a new log at `path`, where the present one was; with its owner, group and mode.
    fn begin_anew(&mut self, path: &Path) -> Result<Damage, CommitError> {
        // Synced below: where that fails, nobody may go on in the old one either.
        let like = self.file.ownership();
        let opened = Self::open_like(path, Opening::Append, false, like);
        let opened = opened.map_err(CommitError::Refused)?;
        let mut new = opened.journal;
        if self.sync {
            new.file.sync_with_name(path).map_err(CommitError::Fatal)?;
        }
        debug_assert!(self.torn_from.is_none(), "a torn log is not rotated");
        new.sync = self.sync;
        *self = new;
        Ok(opened.damage)
    }
}

/// The file that is renamed: where the log's name is a link, what it leads to.
fn target(path: &Path) -> io::Result<PathBuf> {
    match not_found(path.symlink_metadata())? {
        Some(metadata) if metadata.is_symlink() => path.canonicalize(),
        _ => Ok(path.to_owned()),
    }
}

fn pieces_of(path: &Path) -> io::Result<Pieces> {
    Pieces::of(&target(path)?).ok_or_else(|| io::Error::other("it is no name of a file"))
}

/// The highest number that a name beside the log has, be it that of a folder.
fn last_number(pieces: &Pieces) -> io::Result<u64> {
    let mut last = 0;
    for entry in fs::read_dir(pieces.folder())? {
        last = last.max(pieces.number_of(&entry?.file_name()).unwrap_or(0));
    }
    Ok(last)
}

/// The number that was given last; 0 if none was.
fn read_number(file: &File, path: &Path) -> io::Result<u64> {
    let mut text = [0; 32];
    let length = FileExt::read_at(file, &mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..length]);
    // Of what people may have written there, the first line counts.
    match text.lines().next().unwrap_or_default().trim() {
        "" => Ok(0),
        number => number.parse().map_err(|_| {
            let path = path.display();
            io::Error::other(format!(
                "{path} should hold the number of the last piece, and holds no number; without that file, numbers \
                 go on after the highest piece that is there"
            ))
        }),
    }
}

/// A time in a piece's name.
fn time_in_name(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn not_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// An error that says which file it is about.
fn explain(path: impl AsRef<OsStr>, error: impl Into<io::Error>) -> io::Error {
    let (path, error) = (Path::new(path.as_ref()).display(), error.into());
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::journal::Opened;

    struct Log {
        journal: Journal,
        rotation: Rotation,
        path: PathBuf,
    }

    fn record(time: &str, message: &str) -> String {
        format!("INFO\t| {time} --127.0.0.1:49030 recieved: {message}\n")
    }

    impl Log {
        fn open(path: PathBuf, sync: bool) -> Self {
            let rotation = Rotation::new(&path, true).unwrap();
            let opened: Opened = Journal::open(&path, Opening::Append, sync).unwrap();
            Self {
                journal: opened.journal,
                rotation,
                path,
            }
        }

        fn write(&mut self, records: &str) {
            self.journal.commit(records.as_bytes(), true).unwrap();
        }

        fn rotate(&mut self) -> Result<Rotated, RotationError> {
            self.rotation.rotate(&mut self.journal)
        }

        /// Writes a record and rotates; the name of the piece.
        fn piece(&mut self, time: &str) -> String {
            self.write(&record(time, "hello"));
            let piece = self.rotate().unwrap().piece;
            piece.file_name().unwrap().to_str().unwrap().to_owned()
        }
    }

    fn log(sync: bool) -> (TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path().join("logging.log"), sync);
        (folder, log)
    }

    /// The names in a folder, but for that of the number.
    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries
            .map(name)
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_log_becomes_a_piece_and_a_new_one_is_begun() {
        for sync in [false, true] {
            let (folder, mut log) = log(sync);
            let before =
                record("2026-11-25 03:35:12", "before") + &record("2026-11-25 03:35:13", "b");
            log.write(&before);
            let rotated = log.rotate().unwrap();
            let piece = "logging-20261125T033512Z-000001.log";
            assert_eq!(rotated.piece, folder.path().join(piece));
            assert_eq!(rotated.length, before.len() as u64);
            assert!(rotated.damage.is_none());
            let after = record("2026-11-25 03:35:14", "after");
            log.write(&after);
            assert_eq!(names(&folder), [piece, "logging.log"]);
            assert_eq!(fs::read_to_string(&rotated.piece).unwrap(), before);
            assert_eq!(fs::read_to_string(&log.path).unwrap(), after);
            // Nobody else can write it, and what is reserved is reserved for it.
            let other = Journal::<File>::open(&log.path, Opening::Append, false);
            assert_eq!(
                other.unwrap_err().to_string(),
                "another server is writing it"
            );
            assert_eq!(log.journal.syncs(), sync);
        }
    }

    /// The number grows across restarts, whatever became of the pieces, and of the file that keeps it.
    #[test]
    fn a_number_is_never_given_twice() {
        const TIME: &str = "2026-11-25 03:35:12";
        let (folder, mut log) = log(false);
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000001.log");
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000002.log");
        for name in names(&folder) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        let path = log.path.clone();
        let mut log = Log::open(path.clone(), false);
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000003.log");
        // Of that file, others are told apart, and without it the pieces tell.
        fs::remove_file(folder.path().join(".logging.log.number")).unwrap();
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000004.log");
        let number = folder.path().join(".logging.log.number");
        assert_eq!(
            fs::read_to_string(&number).unwrap(),
            "00000000000000000004\n"
        );
        // A folder has the next name: it is left alone.
        fs::create_dir(folder.path().join("logging-20261125T033512Z-000005.log")).unwrap();
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000006.log");
        fs::write(&number, "six\n").unwrap();
        log.write(&record(TIME, "hello"));
        let refused = log.rotate().unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
        let error = Rotation::new(&path, true).unwrap_err().to_string();
        assert!(
            error.contains(".logging.log.number should hold the number"),
            "{error}"
        );
        fs::write(&number, u64::MAX.to_string()).unwrap();
        let refused = log.rotate().unwrap_err();
        assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
        // What was lost in a power cut is no number.
        fs::write(&number, "").unwrap();
        assert_eq!(log.piece(TIME), "logging-20261125T033512Z-000007.log");
    }

    /// A rename that fails uses no number up, and changes nothing; it works when it can.
    #[test]
    fn what_cannot_be_renamed_stays() {
        let folder = tempfile::tempdir().unwrap();
        // Long enough for itself, and for the file of the number, but not for a piece.
        let path = folder.path().join("x".repeat(240));
        let error = Rotation::new(&path, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{error}");
        let opened: Opened = Journal::open(&path, Opening::Append, true).unwrap();
        let rotation = Rotation {
            path: path.clone(),
            utc: true,
            unused: None,
        };
        let journal = opened.journal;
        let mut log = Log {
            journal,
            rotation,
            path,
        };
        let mut expected = String::new();
        for n in 0..3 {
            let text = record("2026-11-25 03:35:12", &n.to_string());
            log.write(&text);
            expected += &text;
            let refused = log.rotate().unwrap_err();
            assert!(matches!(refused, RotationError::Refused(_)), "{refused:?}");
            assert_eq!(fs::read_to_string(&log.path).unwrap(), expected);
            assert_eq!(log.rotation.unused.as_ref().unwrap().1, 1);
        }
        assert_eq!(names(&folder).len(), 1);
    }

    #[test]
    fn a_number_that_was_not_used_is_used_once() {
        let (folder, mut log) = log(false);
        let number = folder.path().join(".logging.log.number");
        fs::write(&number, "7\n").unwrap();
        log.rotation.unused = Some((number, 7));
        for expected in [7, 8] {
            let piece = log.piece("2026-11-25 03:35:12");
            assert_eq!(piece, format!("logging-20261125T033512Z-{expected:06}.log"));
            fs::remove_file(folder.path().join(piece)).unwrap();
        }
    }

    #[test]
    fn what_is_empty_or_somebody_elses_is_left_alone() {
        let (folder, mut log) = log(false);
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        log.write(&record("2026-11-25 03:35:12", "mine"));
        fs::rename(&log.path, folder.path().join("mine")).unwrap();
        fs::write(&log.path, "another's").unwrap();
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        assert_eq!(names(&folder), ["logging.log", "mine"]);
    }

    /// A log that nobody can open in the place of the old one: nothing is lost, and the old one goes on.
    #[test]
    fn a_new_log_that_cannot_be_opened_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logging.log");
        let mut log = Log::open(path.clone(), false);
        log.write(&record("2026-11-25 03:35:12", "before"));
        let piece = folder.path().join("piece");
        fs::rename(&path, &piece).unwrap();
        fs::create_dir(&path).unwrap();
        let refused = log.journal.begin_anew(&path).unwrap_err();
        assert!(matches!(refused, CommitError::Refused(_)), "{refused:?}");
        log.write("after\n");
        assert!(
            fs::read_to_string(piece)
                .unwrap()
                .ends_with("before\nafter\n")
        );
    }

    #[test]
    fn the_name_tells_the_time_of_the_first_record_that_there_is() {
        let (_folder, mut log) = log(false);
        log.write("\0\0\0\nlf: torn\n");
        log.write("{\"time\":\"2026-11-25T03:35:12.123456+01:00\",\"peer\":\"[::1]:4\",\"error\":\"log\"}\n");
        assert_eq!(
            log.piece("2026-11-25 09:00:00"),
            "logging-20261125T023512Z-000001.log"
        );
        // Longer than anybody looks.
        log.write(&record("2026-11-25 03:35:13", &"x".repeat(100_000)));
        let begun = log.rotation.begun(&log.journal).unwrap().unwrap();
        assert_eq!(time_in_name(begun), "20261125T033513Z");
        log.rotate().unwrap();
        let before = OffsetDateTime::now_utc().unix_timestamp();
        log.write("no record at all\n");
        assert_eq!(log.rotation.begun(&log.journal).unwrap(), None);
        let piece = log.rotate().unwrap().piece;
        let name = piece.to_str().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(before).unwrap();
        let minute = &time_in_name(now)[..8];
        assert!(name.contains(&format!("logging-{minute}")), "{name}");
    }

    #[test]
    fn only_old_pieces_of_its_own_are_deleted() {
        let (folder, mut log) = log(false);
        for second in 0..5 {
            log.piece(&format!("2026-11-25 03:35:1{second}"));
        }
        let others = [
            "logging-20261125T033510Z-000001.log.gz",
            "logging-20261125T033510Z-000001.txt",
            "logging.log.1",
            "other-20261125T033510Z-000001.log",
        ];
        for other in others {
            fs::write(folder.path().join(other), "").unwrap();
        }
        assert_eq!(log.rotation.delete_old(7).unwrap(), 0);
        assert_eq!(log.rotation.delete_old(2).unwrap(), 3);
        let mut left = others.map(str::to_owned).to_vec();
        left.extend(
            [
                "logging-20261125T033513Z-000004.log",
                "logging-20261125T033514Z-000005.log",
                "logging.log",
            ]
            .map(str::to_owned),
        );
        left.sort();
        assert_eq!(names(&folder), left);
        assert_eq!(log.rotation.delete_old(1).unwrap(), 1);
    }

    #[test]
    fn of_a_link_the_file_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let link = folder.path().join("logging.log");
        symlink(data.path().join("real.log"), &link).unwrap();
        fs::write(data.path().join("real.log"), "").unwrap();
        let mut log = Log::open(link.clone(), true);
        assert_eq!(
            log.piece("2026-11-25 03:35:12"),
            "real-20261125T033512Z-000001.log"
        );
        log.write(&record("2026-11-25 03:35:13", "after"));
        assert_eq!(
            names(&data),
            ["real-20261125T033512Z-000001.log", "real.log"]
        );
        assert!(fs::read_to_string(link).unwrap().ends_with("after\n"));
    }

    #[test]
    fn the_new_log_is_open_to_whom_the_old_one_was() {
        let (_folder, mut log) = log(false);
        fs::set_permissions(&log.path, fs::Permissions::from_mode(0o600)).unwrap();
        // Only root may give it to any group.
        let is_given = std::os::unix::fs::chown(&log.path, None, Some(4321)).is_ok();
        log.piece("2026-11-25 03:35:12");
        let new = log.path.metadata().unwrap();
        assert_eq!(new.permissions().mode() & 0o777, 0o600);
        assert_eq!(new.gid() == 4321, is_given);
    }

    #[test]
    fn reserved_space_is_given_back_before_the_log_is_renamed() {
        let (_folder, mut log) = log(false);
        log.write(&record("2026-11-25 03:35:12", "before"));
        assert!(log.journal.reserved_bytes > 0 && log.journal.reserves);
        log.rotate().unwrap();
        assert_eq!(log.journal.reserved_bytes, 0);
        log.write(&record("2026-11-25 03:35:13", "after"));
        assert!(log.journal.reserved_bytes > 0, "for the new one");
        // A rename that fails must not stop it for good.
        log.rotation.path = log.path.with_file_name("elsewhere");
        assert!(matches!(log.rotate(), Err(RotationError::Refused(_))));
        assert!(log.journal.reserves);
    }
}
