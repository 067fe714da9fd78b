//! Serves the dashboard: the files that the build embedded, under a strict content security policy.
//!
//! Never reads a file of the machine (but for a developer's debug build told so by `MUSTER_UI_DIR`), never inlines
//! anything, and never names an absolute address but two in index.html: its `<base>`, which every link is relative to, and
//! where the API is. They follow `ui_content_path` and the prefix that a reverse proxy names in `X-Forwarded-Prefix`.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use std::borrow::Cow;

/// One embedded file.
struct Asset {
    /// Path below the dashboard's root.
    path: &'static str,
    mime: &'static str,
    /// Hash of the content, without quotes.
    hash: &'static str,
    raw: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/ui_assets.rs"));

/// What index.html says of itself and of the API until root and prefix are known.
const BASE: &str = r#"<base href="/ui/">"#;
const API: &str = r#"<meta name="muster-api" content="/v1/">"#;
/// Where the dashboard is mounted unless it is configured otherwise.
const ROOT: &str = "/ui/";
const INDEX: &str = "index.html";
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      font-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

/// Answers a GET. `path` is what follows `root`, the dashboard's own path with slashes at both ends; a page's path gets
/// index.html, since the browser routes it.
pub fn respond(root: &str, path: &str, headers: &HeaderMap) -> Response<Body> {
    #[cfg(debug_assertions)]
    if let Some(folder) = std::env::var_os("MUSTER_UI_DIR") {
        return from_disk(std::path::Path::new(&folder), root, path, headers);
    }
    let path = path.trim_start_matches('/');
    match ASSETS.iter().find(|asset| asset.path == path && asset.path != INDEX) {
        Some(asset) => file(asset, headers),
        None if path.starts_with("assets/") => plain(StatusCode::NOT_FOUND, "no such file in this version's dashboard"),
        None => match ASSETS.iter().find(|asset| asset.path == INDEX) {
            Some(asset) => index(asset, root, headers),
            None => plain(StatusCode::NOT_FOUND, "this muster was built without its dashboard (MUSTER_UI=skip)"),
        },
    }
}

/// Sends a browser from `/` or `/ui` to the dashboard at `root`, keeping a proxy's prefix.
pub fn redirect(root: &str, headers: &HeaderMap) -> Response<Body> {
    let place = HeaderValue::try_from(format!("{}{root}", prefix(headers, root))).expect("a checked prefix is a header value");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, place);
    response
}

/// A file named by its content: it never changes.
fn file(asset: &Asset, headers: &HeaderMap) -> Response<Body> {
    let etag = format!("\"{}\"", asset.hash);
    let response = dressed(asset.mime, &etag, "public, max-age=31536000, immutable");
    if unchanged(headers, &etag) {
        return not_modified(response);
    }
    embedded(asset, headers, response)
}

fn index(asset: &Asset, root: &str, headers: &HeaderMap) -> Response<Body> {
    let prefix = prefix(headers, root);
    let standard = prefix.is_empty() && root == ROOT;
    let etag = if standard { format!("\"{}\"", asset.hash) } else { format!("\"{}{prefix}{root}\"", asset.hash) };
    let response = dressed(asset.mime, &etag, "no-cache");
    if unchanged(headers, &etag) {
        return not_modified(response);
    }
    if standard {
        return embedded(asset, headers, response);
    }
    response.map(|_| Body::from(placed(asset.raw, &prefix, root)))
}

fn embedded(asset: &Asset, headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let (body, word) = match (accepted(headers), asset.brotli, asset.gzip) {
        (Encoding::Brotli, Some(body), _) => (body, Some("br")),
        (Encoding::Brotli | Encoding::Gzip, _, Some(body)) if takes(headers, "gzip") => (body, Some("gzip")),
        _ => (asset.raw, None),
    };
    if let Some(word) = word {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(word));
    }
    response.map(|_| Body::from(body))
}

/// An empty answer with every header that does not depend on the body.
fn dressed(mime: &'static str, etag: &str, cache: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::ETAG, HeaderValue::try_from(etag).expect("a hash and a checked prefix are a header value"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, x-forwarded-prefix"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn not_modified(mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The prefix a reverse proxy says it strips, without a slash at its end; empty when there is none or it is not one.
fn prefix<'a>(headers: &'a HeaderMap, root: &str) -> Cow<'a, str> {
    let given = headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.trim().trim_end_matches('/');
    // A proxy may serve under both its prefix and ours.
    let given = given.strip_suffix(root.trim_end_matches('/')).unwrap_or(given);
    let plain = given.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~'));
    let rooted = given.starts_with('/') && !given.starts_with("//") && !given.split('/').any(|part| part == "..");
    if plain && rooted && given.len() <= 200 { Cow::Borrowed(given) } else { Cow::Borrowed("") }
}

/// index.html for where it is. Only characters that need no escaping pass [`prefix`] and the configuration.
fn placed(index: &[u8], prefix: &str, root: &str) -> String {
    let index = String::from_utf8_lossy(index);
    let index = index.replacen(BASE, &BASE.replacen(ROOT, &format!("{prefix}{root}"), 1), 1);
    index.replacen(API, &API.replacen("/v1/", &format!("{prefix}/v1/"), 1), 1)
}

fn accepted(headers: &HeaderMap) -> Encoding {
    if takes(headers, "br") {
        Encoding::Brotli
    } else if takes(headers, "gzip") {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// Whether `Accept-Encoding` names the encoding and does not weigh it with 0.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|part| {
        let mut words = part.split(';').map(str::trim);
        let named = words.next().is_some_and(|word| word.eq_ignore_ascii_case(encoding));
        named && !words.any(|word| word.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0)))
    })
}

fn unchanged(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|part| {
        let part = part.trim();
        part == "*" || part.strip_prefix("W/").unwrap_or(part) == etag
    })
}

/// `cargo xtask dev`: the files as last built.
#[cfg(debug_assertions)]
fn from_disk(folder: &std::path::Path, root: &str, path: &str, headers: &HeaderMap) -> Response<Body> {
    let asset = path.starts_with("assets/") && !path.contains("..");
    let file = folder.join(if asset { path } else { INDEX });
    let mime = match file.extension().and_then(|extension| extension.to_str()) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        Some("woff2") => "font/woff2",
        _ => "text/html; charset=utf-8",
    };
    match std::fs::read(&file) {
        Ok(bytes) if asset => dressed(mime, "\"dev\"", "no-store").map(|_| Body::from(bytes)),
        Ok(bytes) => {
            let text = placed(&bytes, &prefix(headers, root), root);
            dressed(mime, "\"dev\"", "no-store").map(|_| Body::from(text))
        }
        Err(_) => plain(StatusCode::NOT_FOUND, "not built yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))).collect()
    }

    const FILE: Asset = Asset {
        path: "assets/app-0.js",
        mime: "text/javascript; charset=utf-8",
        hash: "abc",
        raw: b"raw",
        brotli: Some(b"br"),
        gzip: Some(b"gz"),
    };
    const PAGE: Asset = Asset {
        path: INDEX,
        mime: "text/html",
        hash: "abc",
        raw: br#"<base href="/ui/"><meta name="muster-api" content="/v1/">"#,
        brotli: None,
        gzip: None,
    };

    async fn body(response: Response<Body>) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body in memory");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn the_best_accepted_encoding_is_sent() {
        let cases = [
            ("gzip, deflate, br", "br", Some("br")),
            ("gzip", "gz", Some("gzip")),
            ("br;q=0, gzip;q=0.5", "gz", Some("gzip")),
            ("identity", "raw", None),
            ("GZIP;q=0", "raw", None),
            ("", "raw", None),
        ];
        for (accept, expected, word) in cases {
            let response = file(&FILE, &headers(&[("accept-encoding", accept)]));
            let encoding = response.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_owned);
            assert_eq!((encoding.as_deref(), body(response).await.as_str()), (word, expected), "{accept}");
        }
    }

    #[test]
    fn a_known_tag_saves_the_body() {
        for (sent, status) in [("\"abc\"", 304), ("W/\"abc\"", 304), ("\"x\", \"abc\"", 304), ("*", 304), ("\"abcd\"", 200), ("abc", 200)] {
            assert_eq!(file(&FILE, &headers(&[("if-none-match", sent)])).status(), status, "{sent}");
        }
    }

    #[test]
    fn only_a_harmless_prefix_is_believed() {
        let cases = [
            ("/muster", "/muster"),
            ("/a/b/", "/a/b"),
            ("/x/ui", "/x"),
            ("", ""),
            ("/", ""),
            ("muster", ""),
            ("//evil.example", ""),
            ("/a/../b", ""),
            ("/a\"><script>", ""),
            ("/a b", ""),
            ("https://evil.example", ""),
        ];
        for (sent, expected) in cases {
            assert_eq!(prefix(&headers(&[("x-forwarded-prefix", sent)]), "/ui/"), expected, "{sent}");
        }
    }

    #[tokio::test]
    async fn the_page_knows_its_own_path_the_apis_and_a_proxys_prefix() {
        let proxied = headers(&[("x-forwarded-prefix", "/tools/muster")]);
        let response = index(&PAGE, "/ui/", &proxied);
        assert_eq!(response.headers()[header::ETAG], "\"abc/tools/muster/ui/\"");
        let told = |base: &str, api: &str| format!(r#"<base href="{base}"><meta name="muster-api" content="{api}">"#);
        assert_eq!(body(response).await, told("/tools/muster/ui/", "/tools/muster/v1/"));
        assert_eq!(body(index(&PAGE, "/ui/", &HeaderMap::new())).await, told("/ui/", "/v1/"));
        let elsewhere = index(&PAGE, "/ops/consul/", &HeaderMap::new());
        assert_eq!(elsewhere.headers()[header::ETAG], "\"abc/ops/consul/\"");
        assert_eq!(body(elsewhere).await, told("/ops/consul/", "/v1/"));
        assert_eq!(body(index(&PAGE, "/", &proxied)).await, told("/tools/muster/", "/tools/muster/v1/"));
    }

    #[test]
    fn a_missing_file_is_not_the_page() {
        let response = respond("/ui/", "assets/app-old.js", &HeaderMap::new());
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[test]
    fn the_browser_is_sent_to_the_dashboard() {
        assert_eq!(redirect("/ui/", &HeaderMap::new()).headers()[header::LOCATION], "/ui/");
        let proxied = headers(&[("x-forwarded-prefix", "/m")]);
        assert_eq!(redirect("/ui/", &proxied).headers()[header::LOCATION], "/m/ui/");
        assert_eq!(redirect("/ops/", &proxied).headers()[header::LOCATION], "/m/ops/");
    }
}
