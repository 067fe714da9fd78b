//! `snapshot save|restore|inspect`: the whole state of a datacenter as a file.
//!
//! Contract: command line, section "Operator, snapshot, ACL, TLS". Files pass through as they come; one that is saved takes its name
//! only once it has been read again and found whole. `inspect` needs no agent.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use futures_util::StreamExt as _;
use shared::snapshot::Inspection;

use super::{
    args::Args,
    client::Client,
    print::{Print, table},
    read,
};
use crate::{
    rt::{
        chunks::PIECE,
        clock,
        durable::{sync_all, sync_dir},
    },
    store::snapshot::file,
};

/// How long an agent may take for its next bytes.
const STALL: Duration = Duration::from_secs(90);

/// The one argument.
fn path(args: &Args) -> Result<&Path, String> {
    match args.rest.as_slice() {
        [] => Err("Missing FILE argument".to_owned()),
        [path] => Ok(Path::new(path)),
        more => Err(format!("Too many arguments (expected 1, got {})", more.len())),
    }
}

fn told(result: Result<String, String>, print: &mut Print) -> u8 {
    match result {
        Ok(text) => {
            print.line(text);
            0
        }
        Err(why) => {
            print.say(why);
            1
        }
    }
}

/// The system's words without its number.
fn words(why: &io::Error) -> String {
    let text = why.to_string();
    match why.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => text.split(" (os error").next().unwrap_or_default().to_owned(),
    }
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|why| format!("Error opening snapshot file: open {}: {}", path.display(), words(&why)))
}

/// `snapshot save FILE`.
pub(super) async fn save(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let saved = match path(args) {
        Ok(path) => save_to(path, args, client).await,
        Err(why) => Err(why),
    };
    told(saved.map(|index| format!("Saved and verified snapshot to index {index}")), print)
}

async fn save_to(path: &Path, args: &Args, client: &Client) -> Result<u64, String> {
    let query = shared::endpoint::encode_query(&read(args).pairs());
    let url = if query.is_empty() { "snapshot".to_owned() } else { format!("snapshot?{query}") };
    let mut pieces = client.pieces(&url).await.map_err(|why| format!("Error saving snapshot: {why}"))?;
    let mut unverified = path.as_os_str().to_owned();
    unverified.push(format!(".unverified.tmp{}", std::process::id()));
    let unverified = Path::new(&unverified);
    let failed = |why: io::Error| format!("Error writing unverified snapshot file: open {}: {}", unverified.display(), words(&why));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(unverified).map_err(failed)?;
    let written = async {
        loop {
            let piece = clock::timeout(STALL, pieces.next()).await;
            match piece.map_err(|_| "Error saving snapshot: the agent stopped sending".to_owned())? {
                Some(Ok(piece)) => file.write_all(&piece).map_err(failed)?,
                Some(Err(why)) => return Err(format!("Error saving snapshot: {why}")),
                None => break,
            }
        }
        sync_all(&file).map_err(failed)?;
        let again = BufReader::new(open(unverified)?);
        let found = file::check(again).map_err(|why| format!("Error verifying snapshot file: {why}"))?;
        fs::rename(unverified, path).map_err(|why| format!("Error renaming {:?} to {path:?}: {}", unverified, words(&why)))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(directory).map_err(failed)?;
        Ok(found.index)
    };
    let result = written.await;
    if result.is_err() {
        // It says nothing more than the error does.
        let _ = fs::remove_file(unverified);
    }
    result
}

/// `snapshot restore FILE`.
pub(super) async fn restore(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let restored = match path(args).and_then(open) {
        Ok(file) => {
            let query = shared::endpoint::encode_query(&shared::endpoint::dc(&args.text("datacenter")));
            let url = if query.is_empty() { "snapshot".to_owned() } else { format!("snapshot?{query}") };
            client.upload("PUT", &url, pieces(file)).await.map_err(|why| format!("Error restoring snapshot: {why}"))
        }
        Err(why) => Err(why),
    };
    told(restored.map(|()| "Restored snapshot".to_owned()), print)
}

/// A file piece by piece. Reading blocks, which hurts nobody here: there is nothing else to do.
fn pieces(file: File) -> impl futures_util::Stream<Item = io::Result<Vec<u8>>> + Send {
    futures_util::stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut piece = vec![0; PIECE];
        match io::Read::read(&mut file, &mut piece) {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(piece), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// What `inspect` is asked for about keys.
struct Keys {
    details: bool,
    depth: usize,
    filter: String,
    sizes: BTreeMap<String, (u64, u64)>,
}

impl Keys {
    fn add(&mut self, key: &str, size: u64) {
        if self.details && key.starts_with(&self.filter) {
            let ends = key.match_indices('/').nth(self.depth.saturating_sub(1)).map_or(key.len(), |(at, _)| at);
            let (count, bytes) = self.sizes.entry(key[..ends].to_owned()).or_default();
            (*count, *bytes) = (*count + 1, *bytes + size);
        }
    }

    /// Largest first.
    fn rows(&self) -> Vec<(String, u64, u64)> {
        let mut rows: Vec<_> = self.sizes.iter().map(|(key, (count, size))| (key.clone(), *count, *size)).collect();
        rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        rows
    }
}

/// `snapshot inspect FILE`.
pub(super) fn inspect(args: &Args, print: &mut Print) -> u8 {
    told(inspected(args), print)
}

fn inspected(args: &Args) -> Result<String, String> {
    let file = open(path(args)?)?;
    let depth = match args.get("kvdepth") {
        Some(text) => text.parse().map_err(|_| format!("invalid value {text:?} for flag -kvdepth"))?,
        None => 2,
    };
    let mut keys = Keys { details: args.is_on("kvdetails"), depth, filter: args.text("kvfilter"), sizes: BTreeMap::new() };
    let found = file::check_keys(BufReader::new(file), |key, size| keys.add(key, size));
    let found = found.map_err(|why| format!("Error verifying snapshot: {why}"))?;
    match args.get("format").unwrap_or("pretty") {
        "pretty" => Ok(pretty(&found, &keys)),
        "json" => Ok(json(&found, &keys)),
        other => Err(format!("Error outputting enhanced snapshot data: unknown format {other:?}")),
    }
}

fn pretty(found: &Inspection, keys: &Keys) -> String {
    let mut about = vec![
        ("ID", found.id.clone()),
        ("Size", found.size_bytes.to_string()),
        ("Index", found.index.to_string()),
        ("Term", found.term.to_string()),
        ("Version", found.version.to_string()),
    ];
    about.extend([("Muster", found.muster.clone()), ("Taken", found.taken_at.clone())]);
    about.extend([("Datacenter", found.datacenter.clone()), ("Server", found.server.clone())]);
    let about: Vec<String> = about.into_iter().map(|(name, value)| format!("{name:<13}{value}").trim_end().to_owned()).collect();
    let listed = |title: &str, rows: Vec<(String, u64, u64)>| {
        let mut lines = vec![[title, "Count", "Size"].map(str::to_owned).to_vec()];
        let total = rows.iter().map(|(_, _, size)| size).sum::<u64>();
        lines.extend(rows.into_iter().map(|(name, count, size)| vec![name, count.to_string(), size.to_string()]));
        lines.push(vec!["Total".to_owned(), String::new(), total.to_string()]);
        table(&lines)
    };
    let tables = found.tables.iter().map(|table| (table.name.clone(), table.count, table.size_bytes)).collect();
    let mut text = format!("{}\n\n{}", about.join("\n"), listed("Type", tables));
    if keys.details {
        text += &format!("\n\n{}", listed("Key Name", keys.rows()));
    }
    text
}

fn json(found: &Inspection, keys: &Keys) -> String {
    let stat = |name: &str, count: u64, sum: u64| serde_json::json!({"Name": name, "Sum": sum, "Count": count});
    let mut value = serde_json::json!({
        "Meta": {"ID": found.id, "Size": found.size_bytes, "Index": found.index, "Term": found.term, "Version": found.version},
        "Muster": {"Version": found.muster, "TakenAt": found.taken_at, "Datacenter": found.datacenter, "Server": found.server},
        "Stats": found.tables.iter().map(|table| stat(&table.name, table.count, table.size_bytes)).collect::<Vec<_>>(),
        "Offset": found.size_bytes,
    });
    if keys.details {
        let rows = keys.rows();
        value["TotalSizeKV"] = rows.iter().map(|(_, _, size)| size).sum::<u64>().into();
        value["StatsKV"] = rows.iter().map(|(name, count, size)| stat(name, *count, *size)).collect();
    }
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use shared::snapshot::Table;

    use super::*;

    fn keys(details: bool, depth: usize) -> Keys {
        let mut keys = Keys { details, depth, filter: String::new(), sizes: BTreeMap::new() };
        for (key, size) in [("a/b/c", 3), ("a/b/d", 4), ("a/e", 1), ("z", 2)] {
            keys.add(key, size);
        }
        keys
    }

    fn found() -> Inspection {
        let table = |name: &str, count, size_bytes| Table { name: name.to_owned(), count, size_bytes };
        let (id, tables) = ("2-14-1795611855257".to_owned(), vec![table("kv", 4, 10), table("nodes", 1, 5)]);
        Inspection { id, index: 14, term: 2, version: 1, size_bytes: 15, tables, ..Inspection::default() }
    }

    #[test]
    fn keys_are_added_up_to_a_depth() {
        let rows = |depth| keys(true, depth).rows();
        assert_eq!(rows(1), [("a".to_owned(), 3, 8), ("z".to_owned(), 1, 2)]);
        assert_eq!(rows(2), [("a/b".to_owned(), 2, 7), ("z".to_owned(), 1, 2), ("a/e".to_owned(), 1, 1)]);
        assert!(keys(false, 2).rows().is_empty());
    }

    #[test]
    fn what_is_in_a_file_is_told_as_operators_know_it() {
        let text = pretty(&found(), &keys(true, 1));
        assert!(
            text.starts_with("ID           2-14-1795611855257\nSize         15\nIndex        14\nTerm         2\nVersion      1\n"),
            "{text}"
        );
        assert!(text.contains("Type   Count  Size\nkv     4      10\nnodes  1      5\nTotal         15"), "{text}");
        assert!(text.ends_with("Key Name  Count  Size\na         3      8\nz         1      2\nTotal            10"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&json(&found(), &keys(false, 1))).expect("JSON");
        assert_eq!(value["Meta"]["Index"], 14);
        assert_eq!(value["Stats"][0], serde_json::json!({"Name": "kv", "Sum": 10, "Count": 4}));
        assert_eq!(value.get("StatsKV"), None);
    }
}
