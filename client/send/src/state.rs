//! Crash-safe state file of a sender. It holds the number of the next line and the acknowledged
//! position in the followed file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use follow::FilePosition;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "client-send-state";
const VERSION: u32 = 1;

/// The content of the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The sender's name, if it has one.
    pub id: Option<String>,
    /// The number of the first unacknowledged line, counted from 1.
    pub next: u64,
    /// The position of that line, if a file is followed.
    pub place: Option<FilePosition>,
}

/// The JSON object in the state file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: String,
    version: u32,
    #[serde(flatten)]
    progress: Progress,
}

/// A state file, locked against other senders while this value lives.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// The lock is on a file next to the state, since replacing the state would leave its lock
    /// behind.
    _lock: File,
}

impl StateFile {
    /// Opens the state file `path`. With `begin` it must not exist and is created.
    ///
    /// # Errors
    ///
    /// The file cannot be locked, read or created, or belongs to a sender with another `id`. The
    /// text is for the user.
    pub fn open(path: &Path, begin: bool, id: Option<&str>) -> Result<(Self, Progress), String> {
        let lock = lock(path)?;
        let state = Self { path: path.to_owned(), _lock: lock };
        let kept = match fs::read(path) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("cannot read the state {}: {error}", path.display())),
        };
        let progress = match (kept, begin) {
            (Some(_), true) => Err("already exists; leave -begin out to resume from it".to_owned()),
            (Some(kept), false) => parse(&kept),
            (None, true) => Ok(Progress { id: id.map(str::to_owned), next: 1, place: None }),
            (None, false) => {
                Err("is not there: with -begin, one is made and line 1 is the first".to_owned())
            }
        };
        let progress = progress.map_err(|why| format!("the state {} {why}", path.display()))?;
        if progress.id.as_deref() != id {
            let name = |id: Option<&str>| id.map_or("no -id".to_owned(), |id| format!("-id {id}"));
            return Err(format!(
                "the state {} is that of a sender with {}, not with {}",
                path.display(),
                name(progress.id.as_deref()),
                name(id)
            ));
        }
        if begin {
            state.write(&progress)?;
        }
        Ok((state, progress))
    }

    /// Replaces the state: writes a new file, syncs it and renames it. A crash leaves the old or
    /// the new state.
    ///
    /// # Errors
    ///
    /// The text names the file and is for the user.
    pub fn write(&self, progress: &Progress) -> Result<(), String> {
        let kept = Kept { format: FORMAT.to_owned(), version: VERSION, progress: progress.clone() };
        self.replace(&kept)
            .map_err(|error| format!("cannot write the state {}: {error}", self.path.display()))
    }

    fn replace(&self, kept: &Kept) -> io::Result<()> {
        let new = with_suffix(&self.path, ".new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn lock(path: &Path) -> Result<File, String> {
    let name = with_suffix(path, ".lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&name);
    let file = file.map_err(|error| format!("cannot open {}: {error}", name.display()))?;
    file.try_lock()
        .map_err(|_| format!("the state {} is in use by another sender", path.display()))?;
    Ok(file)
}

fn parse(kept: &[u8]) -> Result<Progress, String> {
    let torn = |error| format!("is torn or no state of a sender: {error}");
    let kept: Kept = serde_json::from_slice(kept).map_err(torn)?;
    if kept.format != FORMAT || kept.version != VERSION {
        let Kept { format, version, .. } = kept;
        return Err(format!("is no {FORMAT} version {VERSION}, but '{format}' version {version}"));
    }
    if kept.progress.next == 0 {
        return Err("is damaged: lines count from 1".to_owned());
    }
    Ok(kept.progress)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use follow::Head;

    use super::*;

    #[test]
    fn what_was_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pos");
        let missing = StateFile::open(&path, false, None).unwrap_err();
        assert!(missing.contains("is not there: with -begin"), "{missing}");
        let (state, mut progress) = StateFile::open(&path, true, Some("shop-7")).unwrap();
        assert_eq!(progress.next, 1);
        let used = StateFile::open(&path, false, Some("shop-7")).unwrap_err();
        assert!(used.contains("in use by another sender"), "{used}");
        progress.next = 42;
        progress.place =
            Some(FilePosition { device: 1, inode: 2, offset: 3, head: Head::of(b"abc") });
        state.write(&progress).unwrap();
        drop(state);
        let (state, read) = StateFile::open(&path, false, Some("shop-7")).unwrap();
        assert_eq!(read, progress);
        drop(state);
        for (begin, id, expected) in [
            (true, Some("shop-7"), "already exists"),
            (false, None, "is that of a sender with -id shop-7, not with no -id"),
        ] {
            let error = StateFile::open(&path, begin, id).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() - 1 {
            fs::write(&path, &whole[..len]).unwrap();
            let error = StateFile::open(&path, false, Some("shop-7")).unwrap_err();
            assert!(error.contains("is torn or no state"), "{len}: {error}");
        }
    }
}
