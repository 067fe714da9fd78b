//! The table of assets as Rust source, for the backend to include.

use std::path::PathBuf;

use super::bundle::Asset;

/// `static ASSETS: &[Asset] = &[…]`, with the files' contents by `include_bytes!`.
pub(crate) fn source(assets: &[Asset]) -> String {
    let mut out = String::from("static ASSETS: &[Asset] = &[\n");
    for asset in assets {
        out.push_str(&format!(
            "    Asset {{ path: {:?}, mime: {:?}, hash: {:?}, raw: include_bytes!({:?}), brotli: {}, gzip: {} }},\n",
            asset.path,
            asset.mime,
            asset.hash,
            asset.raw,
            included(asset.brotli.as_ref()),
            included(asset.gzip.as_ref()),
        ));
    }
    out.push_str("];\n");
    out
}

fn included(file: Option<&PathBuf>) -> String {
    file.map_or_else(|| "None".to_owned(), |file| format!("Some(include_bytes!({file:?}))"))
}
