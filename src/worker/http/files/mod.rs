//! Static files: what is answered for a route with `files`.
//!
//! `Site` is made once per worker and route; `answer` turns a request into the parts of a response. The whole path of
//! the request is looked up beneath the root, the route's own prefix included, as nginx's `root` does. Nothing outside
//! the root is reachable, by dots or by links; folders show their index file, never a listing. Conditions and ranges are
//! RFC 9110's; of several ranges at once the whole file is sent. All that may block is done on helper threads.
//! Never: writes, maps a file into memory, follows a link out, waits on the worker's own thread.

pub mod body;
mod conditions;
mod encoding;
mod lookup;
mod path;
mod range;
mod types;

use crate::sys::beneath;
use crate::worker::engine::helpers::{Gone, Helpers};
use body::FileBody;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode, Uri};
use lookup::{Asked, Found};
use slog::{Logger, error};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A folder that is served.
#[derive(Debug)]
pub struct Site {
    root: OwnedFd,
    /// Its path, as given.
    name: PathBuf,
    /// What is sent for a folder; empty: nothing is.
    index: String,
    precompressed: bool,
    log: Logger,
}

impl Site {
    /// Opens the root, with whatever rights the process has now. `index` is a name in each folder, or empty.
    /// With `precompressed`, `FILE.gz` is sent to who accepts gzip, if it is not older than `FILE`.
    ///
    /// The error says which folder can't be opened, and why (open(2)).
    pub fn new(root: &Path, index: &str, precompressed: bool, log: Logger) -> io::Result<Site> {
        let (name, index) = (root.to_owned(), index.to_owned());
        Ok(Site { root: beneath::directory(root)?, name, index, precompressed, log })
    }
}

/// Status, fields and body of the answer to a request, whose own body doesn't matter.
///
/// The future needs nothing that is borrowed here. What goes wrong is an answer too (400, 403, 404, 405,
/// 412, 416, 500, 503); what an operator should know of it is logged. For HEAD the body is empty and
/// Content-Length that of the file.
pub fn answer(
    site: &Arc<Site>,
    helpers: &Rc<Helpers>,
    method: &Method,
    target: &Uri,
    headers: &HeaderMap,
) -> impl Future<Output = (StatusCode, HeaderMap, FileBody)> + use<> {
    let asked = Asked::of(method, target, headers);
    let is_head = method == Method::HEAD;
    let (site, helpers) = (site.clone(), helpers.clone());
    async move {
        let found = match asked {
            Err(found) => *found,
            Ok(asked) => {
                let log = site.log.clone();
                let found = helpers.run(move || lookup::find(&site, &asked)).await;
                found.unwrap_or_else(|gone| undone(&log, &gone, is_head))
            }
        };
        (found.status, found.headers, FileBody::new(found.content, &helpers))
    }
}

/// The answer when the helper threads have none.
fn undone(log: &Logger, gone: &Gone, is_head: bool) -> Found {
    let found = match gone {
        Gone::Busy => Found::busy(),
        Gone::Panicked(_) | Gone::NoThread(_) => {
            error!(log, "can't serve a file: {gone}");
            Found::broken()
        }
    };
    if is_head { found.bare() } else { found }
}

#[cfg(test)]
mod tests;
