//! Gathers the dashboard's files, names them by content and writes them with their compressed variants.
//!
//! `{{name}}` in index.html, boot.js and the style sheets stands for the hashed name of that file. Files are named
//! after they are filled in, so a changed font renames the style sheet that points at it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// One file as the browser asks for it.
pub(crate) struct Asset {
    /// Path below the dashboard's root: `index.html`, `assets/app-0123456789.wasm`.
    pub(crate) path: String,
    /// Content type.
    pub(crate) mime: &'static str,
    /// Hash of the content, without quotes.
    pub(crate) hash: String,
    /// The file.
    pub(crate) raw: PathBuf,
    /// Its brotli variant.
    pub(crate) brotli: Option<PathBuf>,
    /// Its gzip variant.
    pub(crate) gzip: Option<PathBuf>,
}

struct Bundle {
    dist: PathBuf,
    compress: bool,
    /// `app.css` to `app-0123456789.css`.
    names: BTreeMap<String, String>,
    assets: Vec<Asset>,
}

/// Writes everything into `dist`, which is emptied first.
pub(crate) fn write(root: &Path, glue: &Path, dist: &Path, compress: bool) -> Result<Vec<Asset>> {
    if dist.exists() {
        fs::remove_dir_all(dist)?;
    }
    fs::create_dir_all(dist.join("assets"))?;
    let mut bundle = Bundle { dist: dist.to_path_buf(), compress, names: BTreeMap::new(), assets: Vec::new() };
    let frontend = root.join("frontend");
    for font in ["hanken.woff2", "jbmono.woff2"] {
        bundle.add(font, read(&root.join("assets/fonts").join(font))?)?;
    }
    bundle.add("sprite.svg", sprite(&root.join("assets/icons"))?)?;
    bundle.add("logo.svg", read(&root.join("assets/brand/logo.svg"))?)?;
    let styles = bundle.fill(&styles(&frontend.join("style"))?)?;
    bundle.add("app.css", styles.into_bytes())?;
    bundle.add("app.wasm", read(&glue.join("app_bg.wasm"))?)?;
    bundle.add("app.js", read(&glue.join("app.js"))?)?;
    let boot = bundle.fill(&read_text(&frontend.join("boot.js"))?)?;
    bundle.add("boot.js", boot.into_bytes())?;
    let index = bundle.fill(&read_text(&frontend.join("index.html"))?)?;
    bundle.store("index.html".to_owned(), index.into_bytes())?;
    Ok(bundle.assets)
}

/// Every drawing of the folder as one `symbol` of one file, named after its file.
fn sprite(folder: &Path) -> Result<Vec<u8>> {
    let mut out = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg">"#);
    for path in sorted(folder, "svg")? {
        let text = read_text(&path)?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let inner = text.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>")).map(|(inner, _)| inner.trim());
        let inner = inner.with_context(|| format!("{} is not a drawing", path.display()))?;
        out.push_str(&format!(r#"<symbol id="{name}" viewBox="0 0 16 16">{inner}</symbol>"#));
    }
    out.push_str("</svg>");
    Ok(out.into_bytes())
}

/// Tokens, then the base, then one file per component in the order of their names.
fn styles(folder: &Path) -> Result<String> {
    let first = [folder.join("tokens.css"), folder.join("base.css")];
    let mut out = String::new();
    for path in first.iter().cloned().chain(sorted(folder, "css")?.into_iter().filter(|path| !first.contains(path))) {
        shrink(&read_text(&path)?, &mut out);
    }
    Ok(out)
}

/// Drops comments, indentation and line ends. Knows no CSS beyond that.
fn shrink(css: &str, out: &mut String) {
    let mut rest = css;
    let mut bare = String::with_capacity(css.len());
    while let Some((before, after)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    bare.push_str(rest);
    for line in bare.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        // A line may end inside a value, where the blank matters.
        if !line.ends_with(['{', '}', ';', ',']) {
            out.push(' ');
        }
    }
    out.push('\n');
}

impl Bundle {
    fn add(&mut self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let (stem, extension) = key.rsplit_once('.').context("an asset's name has an extension")?;
        let name = format!("{stem}-{}.{extension}", &hash(&bytes)[..10]);
        self.names.insert(key.to_owned(), name.clone());
        self.store(format!("assets/{name}"), bytes)
    }

    fn fill(&self, text: &str) -> Result<String> {
        let filled = self.names.iter().fold(text.to_owned(), |text, (key, name)| text.replace(&format!("{{{{{key}}}}}"), name));
        match filled.split_once("{{").and_then(|(_, rest)| rest.split_once("}}")) {
            Some((unknown, _)) => bail!("{{{{{unknown}}}}} stands for no file"),
            None => Ok(filled),
        }
    }

    fn store(&mut self, path: String, bytes: Vec<u8>) -> Result<()> {
        let raw = self.dist.join(&path);
        fs::write(&raw, &bytes)?;
        let (mut brotli, mut gzip) = (None, None);
        // A woff2 is compressed inside.
        if self.compress && !path.ends_with(".woff2") {
            brotli = Some(variant(&raw, "br", &compress_brotli(&bytes)?)?);
            gzip = Some(variant(&raw, "gz", &compress_gzip(&bytes)?)?);
        }
        let smallest = brotli.as_ref().and_then(|file: &PathBuf| fs::metadata(file).ok()).map_or(bytes.len() as u64, |about| about.len());
        eprintln!("dashboard:   {path:<32} {:>8} bytes, {smallest:>7} on the wire", bytes.len());
        self.assets.push(Asset { mime: mime(&path)?, hash: hash(&bytes)[..16].to_owned(), raw, brotli, gzip, path });
        Ok(())
    }
}

fn variant(raw: &Path, extension: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = PathBuf::from(format!("{}.{extension}", raw.display()));
    fs::write(&path, bytes)?;
    Ok(path)
}

fn compress_brotli(bytes: &[u8]) -> Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, size_hint: bytes.len(), ..Default::default() };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &parameters)?;
    Ok(out)
}

fn compress_gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn mime(path: &str) -> Result<&'static str> {
    Ok(match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        Some("woff2") => "font/woff2",
        _ => bail!("no content type is known for {path}"),
    })
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
