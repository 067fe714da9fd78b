//! Reads the configuration files the command line names. The only part of this module that touches the disk.
//!
//! Contract: agent configuration, section "Sources and merging".

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, Format, Source};

/// Reads files, and of directories every `.json` and `.hcl` file in alphabetical order, without recursion. A named file
/// with another extension is skipped unless a format is forced.
///
/// # Errors
/// A path that cannot be read.
pub fn read(paths: &[PathBuf], forced: Option<Format>) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        let failed = |step: &str, verb: &str, reason: &io::Error| {
            let path = path.display();
            Error(format!("config: {step} failed on {path}. {verb} {path}: {}", words(reason)))
        };
        let about = fs::metadata(path).map_err(|reason| failed("Open", "open", &reason))?;
        if !about.is_dir() {
            sources.extend(one(path, forced).map_err(|reason| failed("ReadFile", "open", &reason))?);
            continue;
        }
        let entries = fs::read_dir(path).map_err(|reason| failed("Readdir", "open", &reason))?;
        let mut files: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        for file in files {
            let in_file =
                |reason: io::Error| Error(format!("config: ReadFile failed on {0}. open {0}: {1}", file.display(), words(&reason)));
            if format_of(&file).is_some() {
                sources.extend(one(&file, forced).map_err(in_file)?);
            }
        }
    }
    Ok(sources)
}

fn one(path: &Path, forced: Option<Format>) -> io::Result<Option<Source>> {
    let Some(format) = forced.or_else(|| format_of(path)) else { return Ok(None) };
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(Some(Source { name: path.display().to_string(), text, format }))
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "hcl" => Some(Format::Hcl),
        _ => None,
    }
}

/// The system's words, without Rust's error number.
fn words(reason: &io::Error) -> String {
    match reason.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_files_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["b.hcl", "a.json", "c.txt", ".d.swp"] {
            fs::write(dir.path().join(name), name).expect("a file in it");
        }
        fs::create_dir(dir.path().join("e.hcl")).expect("a directory in it");
        let sources = read(&[dir.path().to_owned()], None).expect("it can be read");
        assert_eq!(sources.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["a.json", "b.hcl"]);
        assert_eq!(sources.iter().map(|s| s.format).collect::<Vec<_>>(), [Format::Json, Format::Hcl]);
        let other = dir.path().join("c.txt");
        assert_eq!(read(std::slice::from_ref(&other), None), Ok(Vec::new()));
        let forced = read(std::slice::from_ref(&other), Some(Format::Json)).expect("it can be read");
        assert_eq!(forced.first().map(|s| s.format), Some(Format::Json));
    }

    #[test]
    fn a_missing_file_is_named() {
        let expected = "config: Open failed on nonexist. open nonexist: no such file or directory";
        assert_eq!(read(&[PathBuf::from("nonexist")], None), Err(Error(expected.to_owned())));
    }
}
