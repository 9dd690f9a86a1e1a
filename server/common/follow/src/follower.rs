//! Lines of a growing file, followed like `tail -F` across renaming, replacing and truncating.
//!
//! Nothing here blocks. The caller reads from time to time, or when a [`Watch`](crate::Watch) wakes it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use common::rotated_files::RotatedFiles;

use crate::position::{FilePosition, Head};

/// Size of one read, in bytes.
const INPUT: usize = 64 << 10;

/// A renamed file is read until no data has come for this long. Its writer may not know yet that
/// there is a new file.
const QUIET: Duration = Duration::from_secs(1);

/// Maximum number of times to list a folder again while its files are being renamed.
const LOOKS: u32 = 100;

/// File name extensions of compressed logs.
const COMPRESSED: [&[u8]; 6] = [b".gz", b".xz", b".bz2", b".zst", b".lz4", b".zip"];

/// A line and the position after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Without its line end.
    pub text: Vec<u8>,
    /// The position where the next line begins.
    pub after: FilePosition,
}

/// A follower of the file with a given name.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    current: Option<Current>,
    /// The files to read after the current one, oldest first. They had the name before the file
    /// that has it now.
    later: VecDeque<File>,
    /// Warnings to report: the file was truncated or replaced, or does not exist.
    notices: Vec<String>,
    missing_told: bool,
    input: Box<[u8]>,
}

#[derive(Debug)]
struct Current {
    file: File,
    place: FilePosition,
    /// The start of an incomplete line.
    begun: Vec<u8>,
    /// When the name was first seen to lead to another file. `None` while it leads to this one.
    left_at: Option<Instant>,
    /// When data last came.
    moved_at: Instant,
    /// The modification time when it was last checked at the end of the file.
    ended_at: Option<SystemTime>,
}

impl Follow {
    /// Follows `path` from its beginning or, with `place`, from that position. That file may have
    /// been renamed since.
    ///
    /// # Errors
    ///
    /// The files cannot be listed or read.
    pub fn new(path: &Path, place: Option<FilePosition>) -> io::Result<Self> {
        let mut follow = Self {
            path: path.to_owned(),
            current: None,
            later: VecDeque::new(),
            notices: Vec::new(),
            missing_told: false,
            input: vec![0; INPUT].into(),
        };
        if let Some(place) = place {
            follow.go_on_from(place)?;
        }
        Ok(follow)
    }

    /// The warnings since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Reads once and appends the complete lines to `lines`. Returns whether more data may be
    /// ready.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a regular file. A missing file is not an error.
    pub fn read(&mut self, lines: &mut VecDeque<Line>) -> io::Result<bool> {
        let now = Instant::now();
        if self.current.is_none() && !self.open_next(now)? {
            return Ok(false);
        }
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        if current.ended_at.is_some() && current.was_cut()? {
            return self.begin_anew();
        }
        let n = current.file.read(&mut self.input)?;
        if n > 0 {
            current.moved_at = now;
            current.take(&self.input[..n], lines);
            return Ok(true);
        }
        self.at_the_end(now, lines)
    }

    /// Decides at the end of the current file whether the next one is due.
    fn at_the_end(&mut self, now: Instant, lines: &mut VecDeque<Line>) -> io::Result<bool> {
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        if current.was_cut()? {
            return self.begin_anew();
        }
        if self.later.is_empty() && is_at(&self.path, &current.place) {
            current.left_at = None;
            return Ok(false);
        }
        let left_at = *current.left_at.get_or_insert(now);
        let quiet_since = left_at.max(current.moved_at);
        if self.later.is_empty() && now.duration_since(quiet_since) < QUIET {
            return Ok(false);
        }
        // A last line without LF is complete: no writer will add to it.
        current.end(lines);
        let place = current.place.clone();
        self.current = None;
        if self.later.is_empty() {
            // The name may have changed to yet another file in the meantime.
            self.later = self.relatives_after(&place)?.unwrap_or_default();
        }
        Ok(true)
    }

    /// Starts again at the beginning of the current file, which was truncated.
    fn begin_anew(&mut self) -> io::Result<bool> {
        let path = self.path.display();
        let notice = format!("{path} was cut: its lines are sent from the beginning");
        self.notices.push(notice);
        if let Some(current) = &mut self.current {
            current.begun.clear();
            current.place.offset = 0;
            current.place.head = Head::default();
            current.file.rewind()?;
        }
        Ok(true)
    }

    /// Opens the next file to read. Returns false if there is none.
    fn open_next(&mut self, now: Instant) -> io::Result<bool> {
        let file = match self.later.pop_front().map_or_else(|| File::open(&self.path), Ok) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !self.missing_told {
                    self.missing_told = true;
                    let path = self.path.display();
                    self.notices.push(format!("{path} is not there yet: waiting for it"));
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.missing_told = false;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("only a regular file can be followed"));
        }
        let place = FilePosition {
            device: metadata.dev(),
            inode: metadata.ino(),
            ..FilePosition::default()
        };
        self.current = Some(Current::new(file, place, now));
        Ok(true)
    }

    /// Finds the file of `place`, under its name or a related one, and continues there.
    fn go_on_from(&mut self, place: FilePosition) -> io::Result<()> {
        let files = self.relatives()?;
        let path = self.path.display();
        let Some(found) = files.into_iter().find(|file| is_of(file, &place)) else {
            self.notices.push(format!(
                "{path}: the file that was followed is gone; what it held after byte {} is lost, and \
                 lines are sent from the beginning of the one that is there now",
                place.offset
            ));
            return Ok(());
        };
        let mut current = Current::new(found, place, Instant::now());
        if current.head_differs() || current.file.metadata()?.len() < current.place.offset {
            self.notices.push(format!(
                "{path} was cut or replaced meanwhile: its lines are sent from the beginning"
            ));
            return Ok(());
        }
        current.file.seek(SeekFrom::Start(current.place.offset))?;
        self.later = self.relatives_after(&current.place)?.unwrap_or_default();
        self.current = Some(current);
        Ok(())
    }

    /// The files after that of `place`. `None` if that file does not exist.
    fn relatives_after(&self, place: &FilePosition) -> io::Result<Option<VecDeque<File>>> {
        let mut files: VecDeque<_> = self.relatives()?.into();
        while let Some(file) = files.pop_front() {
            if is_of(&file, place) {
                return Ok(Some(files));
            }
        }
        Ok(None)
    }

    /// The files whose names begin with the followed name, and the files that `server` rotated, in
    /// the order of creation. The followed file comes last. All are open, since they may be renamed
    /// again. Compressed files are left out, since they are copies.
    fn relatives(&self) -> io::Result<Vec<File>> {
        let identities = |files: &[File]| -> io::Result<Vec<_>> {
            let metadata = files.iter().map(File::metadata);
            metadata.map(|of| of.map(|of| (of.dev(), of.ino()))).collect()
        };
        let mut found = self.look_for_relatives()?;
        // A file that was renamed during the listing may have been missed under both names.
        for _ in 0..LOOKS {
            let again = self.look_for_relatives()?;
            if identities(&again)? == identities(&found)? {
                break;
            }
            found = again;
        }
        Ok(found)
    }

    fn look_for_relatives(&self) -> io::Result<Vec<File>> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let rotated_files = RotatedFiles::of(&self.path);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))?.flatten() {
            let entry_name = entry.file_name();
            let entry_name = entry_name.as_encoded_bytes();
            let is_compressed = COMPRESSED.iter().any(|end| entry_name.ends_with(end));
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let rotated_file = rotated_files
                .as_ref()
                .and_then(|rotated_files| rotated_files.number_of(&entry.file_name()));
            let is_relative = entry_name.starts_with(name) || rotated_file.is_some();
            if !is_relative || is_compressed || !is_file {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            let metadata = file.metadata()?;
            // Not every file system stores the creation time.
            let made = metadata.created().or_else(|_| metadata.modified())?;
            // File timestamps are coarse, and rotated files may follow each other quickly. The
            // number decides then.
            found.push((entry_name == name, made, rotated_file, file));
        }
        found.sort_by_key(|(is_itself, made, rotated_file, _)| (*is_itself, *made, *rotated_file));
        Ok(found.into_iter().map(|(.., file)| file).collect())
    }
}

impl Current {
    fn new(file: File, place: FilePosition, now: Instant) -> Self {
        Self { file, place, begun: Vec::new(), left_at: None, moved_at: now, ended_at: None }
    }

    /// Whether the file was truncated or overwritten since its end was last reached.
    fn was_cut(&mut self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let written_at = metadata.modified()?;
        if self.ended_at == Some(written_at) {
            return Ok(false);
        }
        self.ended_at = Some(written_at);
        let read_until = self.place.offset + self.begun.len() as u64;
        Ok(metadata.len() < read_until || self.head_differs())
    }

    /// Whether the file begins differently than when it was read.
    fn head_differs(&self) -> bool {
        use std::os::unix::fs::FileExt as _;
        let mut head = vec![0; self.place.head.length.min(Head::MAX as u64) as usize];
        let read = self.file.read_exact_at(&mut head, 0);
        read.is_err() || Head::of(&head) != self.place.head
    }

    fn take(&mut self, mut bytes: &[u8], lines: &mut VecDeque<Line>) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.begun.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.push(1, lines);
        }
        self.begun.extend_from_slice(bytes);
    }

    /// Takes an incomplete last line of a file that has no writer any more.
    fn end(&mut self, lines: &mut VecDeque<Line>) {
        if !self.begun.is_empty() {
            self.push(0, lines);
        }
    }

    /// Turns `begun` into a line. `end` is the length of its line end in bytes.
    fn push(&mut self, end: u64, lines: &mut VecDeque<Line>) {
        let text = std::mem::take(&mut self.begun);
        self.place.offset += text.len() as u64 + end;
        if self.place.head.length < Head::MAX as u64 {
            self.place.head = self.read_head();
        }
        let after = self.place.clone();
        lines.push_back(Line { text, after });
    }

    /// The head of the file, as far as the file was read.
    fn read_head(&self) -> Head {
        use std::os::unix::fs::FileExt as _;
        let mut head = vec![0; self.place.offset.min(Head::MAX as u64) as usize];
        match self.file.read_exact_at(&mut head, 0) {
            Ok(()) => Head::of(&head),
            Err(_) => self.place.head,
        }
    }
}

/// Whether the file is that of `place`.
fn is_of(file: &File, place: &FilePosition) -> bool {
    file.metadata()
        .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (place.device, place.inode))
}

/// Whether `path` is a name of the file of `place`.
fn is_at(path: &Path, place: &FilePosition) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (place.device, place.inode))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until a new file gets a later timestamp than the files before it. File timestamps are
    /// coarse.
    fn tick(folder: &Path) {
        let born = || {
            let file = tempfile::NamedTempFile::new_in(folder).unwrap();
            let metadata = file.as_file().metadata().unwrap();
            metadata.created().or_else(|_| metadata.modified()).unwrap()
        };
        let now = born();
        while born() <= now {
            std::thread::yield_now();
        }
    }

    /// Reads until `count` lines have come, or 20 s have passed.
    fn read(follow: &mut Follow, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut lines = VecDeque::new();
        while lines.len() < count {
            assert!(Instant::now() < deadline, "{lines:?} of {count}");
            if !follow.read(&mut lines).unwrap() {
                std::thread::yield_now();
            }
        }
        let text = |line: Line| String::from_utf8(line.text).unwrap();
        lines.into_iter().map(text).collect()
    }

    #[test]
    fn a_line_is_one_when_its_end_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut follow = Follow::new(&path, None).unwrap();
        let mut lines = VecDeque::new();
        assert!(!follow.read(&mut lines).unwrap());
        assert!(follow.notices()[0].contains("not there yet"));
        append(&path, "one\ntwo\nthr");
        assert_eq!(read(&mut follow, 2), ["one", "two"]);
        assert!(!follow.read(&mut lines).unwrap() && lines.is_empty());
        append(&path, "ee\n\n");
        assert_eq!(read(&mut follow, 2), ["three", ""]);
    }

    #[test]
    fn renamed_replaced_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let old = folder.path().join("app.log.1");
        append(&path, "one\n");
        let mut follow = Follow::new(&path, None).unwrap();
        assert_eq!(read(&mut follow, 1), ["one"]);
        fs::rename(&path, &old).unwrap();
        tick(folder.path());
        append(&path, "new\n");
        // The writer has not noticed the rename yet.
        append(&old, "late\nlast without end");
        assert_eq!(read(&mut follow, 3), ["late", "last without end", "new"]);
        // Renamed twice between two reads.
        append(&path, "a\n");
        fs::rename(&path, folder.path().join("app.log.2")).unwrap();
        fs::write(folder.path().join("app.log.1.gz"), "no text\n").unwrap();
        tick(folder.path());
        append(&path, "b\n");
        fs::rename(&path, folder.path().join("app.log.3")).unwrap();
        tick(folder.path());
        append(&path, "c\n");
        assert_eq!(read(&mut follow, 3), ["a", "b", "c"]);
        // Copied and truncated.
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        append(&path, "x\n");
        assert_eq!(read(&mut follow, 1), ["x"]);
        assert!(follow.notices().iter().any(|notice| notice.contains("was cut")));
    }

    /// Many files may be rotated quickly, between two reads.
    #[test]
    fn the_pieces_of_a_server_that_rotates_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logging.log");
        append(&path, "0\n");
        let mut follow = Follow::new(&path, None).unwrap();
        assert_eq!(read(&mut follow, 1), ["0"]);
        let rotated_files = RotatedFiles::of(&path).unwrap();
        let rotate =
            |number| fs::rename(&path, rotated_files.path("20261125T033512Z", number)).unwrap();
        for number in 1..=20 {
            rotate(number);
            append(&path, &format!("{number}\n"));
        }
        fs::write(folder.path().join("logging-2026.log"), "another's\n").unwrap();
        let expected: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
        assert_eq!(read(&mut follow, 20), expected);
    }

    #[test]
    fn it_goes_on_where_it_was_whatever_the_file_is_called_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        append(&path, "one\ntwo\nthree\n");
        let mut follow = Follow::new(&path, None).unwrap();
        let mut lines = VecDeque::new();
        follow.read(&mut lines).unwrap();
        let place = lines[1].after.clone();
        drop(follow);
        let mut from_the_start = Follow::new(&path, Some(place.beginning())).unwrap();
        assert_eq!(read(&mut from_the_start, 3), ["one", "two", "three"]);
        assert!(from_the_start.notices().is_empty());
        let mut again = Follow::new(&path, Some(place.clone())).unwrap();
        assert_eq!(read(&mut again, 1), ["three"]);
        // Rotated twice in the meantime.
        fs::rename(&path, folder.path().join("app.log.2")).unwrap();
        append(&folder.path().join("app.log.2"), "four\n");
        tick(folder.path());
        append(&folder.path().join("app.log.1"), "five\n");
        tick(folder.path());
        append(&path, "six\n");
        let mut again = Follow::new(&path, Some(place.clone())).unwrap();
        assert_eq!(read(&mut again, 4), ["three", "four", "five", "six"]);
        assert!(again.notices().is_empty());
        // The same inode with another beginning is another file.
        fs::write(folder.path().join("app.log.2"), "other\nwords\nhere\n").unwrap();
        let mut again = Follow::new(&path, Some(place)).unwrap();
        assert_eq!(read(&mut again, 1), ["six"]);
        assert!(again.notices()[0].contains("cut or replaced"));
    }
}
