//! From a request to an answer, on a helper thread: open, look, judge the conditions, read the first piece.
//!
//! One call does it all, so that a small file costs one way to another thread and back. Everything is
//! taken from the descriptor once it is open: what the name means a moment later does not matter.
//! Never: waits for anything but the disk.

use super::Site;
use super::body::{Content, PIECE, Rest, Source};
use super::conditions::{Conditions, Validators, Verdict};
use super::path::{Named, Refused};
use super::range::{self, Part};
use super::{encoding, path, types};
use crate::sys::{beneath, clock};
use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER, VARY,
};
use hyper::{Method, StatusCode, Uri};
use slog::error;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What of a request matters.
#[derive(Debug)]
pub struct Asked {
    named: Named,
    target: Uri,
    /// GET, not HEAD.
    content: bool,
    gzip: bool,
    conditions: Conditions,
    range: Option<range::Asked>,
}

/// The answer, before it is an HTTP message.
#[derive(Debug)]
pub struct Found {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Content,
}

impl Asked {
    /// Reads a request; the error is its answer.
    pub fn of(method: &Method, target: &Uri, headers: &HeaderMap) -> Result<Asked, Box<Found>> {
        let content = method == Method::GET;
        if !content && method != Method::HEAD {
            let found =
                Found::text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are all that a file knows\n");
            return Err(Box::new(found.with(ALLOW, HeaderValue::from_static("GET, HEAD"))));
        }
        let named = path::named(target.path()).map_err(|refused| {
            let found = match refused {
                Refused::Malformed => Found::text(StatusCode::BAD_REQUEST, "the path is malformed\n"),
                Refused::Absent => Found::absent(),
            };
            // A HEAD gets the fields of the answer to a GET, and no text.
            Box::new(if content { found } else { found.bare() })
        });
        Ok(Asked {
            named: named?,
            target: target.clone(),
            content,
            gzip: encoding::takes_gzip(headers),
            conditions: Conditions::of(headers),
            range: range::asked(headers).filter(|_| content),
        })
    }
}

/// The answer.
pub fn find(site: &Site, asked: &Asked) -> Found {
    let found = look(site, asked);
    if asked.content { found } else { found.bare() }
}

fn look(site: &Site, asked: &Asked) -> Found {
    let mut path = asked.named.path.clone();
    if asked.named.folder {
        if site.index.is_empty() {
            return Found::absent();
        }
        path.push(&site.index);
    }
    match open(site, &path) {
        Err(error) => refused(site, &path, &error),
        Ok((_, facts)) if facts.is_dir() && !asked.named.folder => moved(&asked.target),
        Ok((_, facts)) if !facts.is_file() => Found::absent(),
        Ok(plain) => {
            let gzipped =
                if site.precompressed && asked.gzip { gzipped(site, &path, &plain.1) } else { None };
            let coded = gzipped.is_some();
            let (file, facts) = gzipped.unwrap_or(plain);
            let source = Source { file, path: site.name.join(path) };
            let served = serve(site, asked, Arc::new(source), &facts, coded);
            served.unwrap_or_else(|error| {
                error!(site.log, "can't serve a file: {error}");
                Found::broken()
            })
        }
    }
}

fn open(site: &Site, path: &Path) -> io::Result<(File, Metadata)> {
    let file = beneath::open(site.root.as_fd(), path)?;
    let facts = file.metadata()?;
    Ok((file, facts))
}

/// The same file, compressed beforehand: beside it, `.gz` added to its name, and not older. Whatever
/// is wrong with that one, the file itself can be sent.
fn gzipped(site: &Site, path: &Path, plain: &Metadata) -> Option<(File, Metadata)> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let (file, facts) = open(site, &PathBuf::from(name)).ok()?;
    let when = |facts: &Metadata| (facts.mtime(), facts.mtime_nsec());
    (facts.is_file() && when(&facts) >= when(plain)).then_some((file, facts))
}

fn refused(site: &Site, path: &Path, error: &io::Error) -> Found {
    let cause = beneath::cause(error);
    if matches!(cause, beneath::Cause::Exhausted | beneath::Cause::Broken) {
        error!(
            site.log,
            "can't serve a file: open {} beneath {}: {error}",
            path.display(),
            site.name.display()
        );
    }
    match cause {
        beneath::Cause::Absent => Found::absent(),
        beneath::Cause::Forbidden => Found::text(StatusCode::FORBIDDEN, "this may not be read\n"),
        beneath::Cause::Exhausted => Found::busy(),
        beneath::Cause::Broken => Found::broken(),
    }
}

/// A folder asked for like a file: with a slash at its end, relative links in it mean what they should.
fn moved(target: &Uri) -> Found {
    let mut location = format!("{}/", target.path());
    if let Some(query) = target.query() {
        location.push('?');
        location.push_str(query);
    }
    match HeaderValue::from_bytes(location.as_bytes()) {
        Ok(location) => {
            Found::text(StatusCode::MOVED_PERMANENTLY, "it is a folder\n").with(LOCATION, location)
        }
        // A target that hyper has read is always a value; were it none, it would name nothing.
        Err(_) => Found::absent(),
    }
}

/// A strong tag: another change, length or file is another tag.
fn validators(facts: &Metadata) -> Validators {
    let changed = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
    let tag = format!("\"{changed:x}-{:x}-{:x}\"", facts.size(), facts.ino());
    Validators { tag, modified: facts.mtime() }
}

/// The answer with an open file, or with why it is not sent.
fn serve(
    site: &Site,
    asked: &Asked,
    source: Arc<Source>,
    facts: &Metadata,
    coded: bool,
) -> io::Result<Found> {
    let (size, now) = (facts.size(), (clock::wall_ns() / 1_000_000_000) as i64);
    let validators = validators(facts);
    let mut headers = HeaderMap::with_capacity(12);
    if let Ok(tag) = HeaderValue::try_from(validators.tag.as_str()) {
        headers.insert(ETAG, tag);
    }
    if let Some(date) = http_date(validators.modified.min(now)) {
        headers.insert(LAST_MODIFIED, date);
    }
    if site.precompressed {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    match asked.conditions.judge(&validators) {
        Verdict::Failed => {
            return Ok(Found::text(StatusCode::PRECONDITION_FAILED, "it is not what was expected\n"));
        }
        Verdict::NotModified => {
            return Ok(Found { status: StatusCode::NOT_MODIFIED, headers, content: Content::Nothing });
        }
        Verdict::Serve => {}
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(types::of(&source.path)));
    if coded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let range = asked.range.filter(|_| asked.conditions.allow_range(&validators, now));
    let (status, start, length) = match range.map_or(Part::Whole, |range| range.of(size)) {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Some { start, length } => (StatusCode::PARTIAL_CONTENT, start, length),
        Part::Nothing => {
            let found = Found::text(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that\n");
            return Ok(found.with(CONTENT_RANGE, text_value(format!("bytes */{size}"))));
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", start + length - 1);
        headers.insert(CONTENT_RANGE, text_value(range));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let content = if asked.content { begin(source, start, length)? } else { Content::Nothing };
    Ok(Found { status, headers, content })
}

/// Reads the first piece.
fn begin(source: Arc<Source>, start: u64, length: u64) -> io::Result<Content> {
    let first = source.read(start, length.min(PIECE as u64) as usize)?;
    let read = first.len() as u64;
    Ok(match length - read {
        0 if read == 0 => Content::Nothing,
        0 => Content::Whole(first),
        length => Content::Begun(first, Rest { source, start: start + read, length }),
    })
}

/// A date of HTTP (RFC 9110, 5.6.7), which knows the years 1970 to 9999. `None` for others.
fn http_date(seconds: i64) -> Option<HeaderValue> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds < 253_402_300_800)?;
    HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))).ok()
}

/// Text made of words and numbers of ours is always a value.
fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

impl Found {
    /// An answer without a file.
    pub fn text(status: StatusCode, text: &'static str) -> Found {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // A folder stays one; everything else may be mended soon.
        if status != StatusCode::MOVED_PERMANENTLY {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Found { status, headers, content: Content::Whole(Bytes::from_static(text.as_bytes())) }
    }

    fn absent() -> Found {
        Found::text(StatusCode::NOT_FOUND, "no such page\n")
    }

    /// Something failed that should not.
    pub fn broken() -> Found {
        Found::text(StatusCode::INTERNAL_SERVER_ERROR, "the file can't be read\n")
    }

    /// Too much is going on.
    pub fn busy() -> Found {
        let found = Found::text(StatusCode::SERVICE_UNAVAILABLE, "too busy, try again\n");
        found.with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Found {
        self.headers.insert(name, value);
        self
    }

    /// Without content, as HEAD wants it.
    pub fn bare(self) -> Found {
        Found { content: Content::Nothing, ..self }
    }
}
