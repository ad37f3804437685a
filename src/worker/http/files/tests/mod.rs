//! Answers with real files, folders, links and pipes.

mod content;
mod fields;
mod sending;

use super::*;
use crate::sys::testing::Folder;
use crate::worker::engine::helpers::tests::wait;
use hyper::body::Body;
use hyper::header::{HeaderName, HeaderValue};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// A root, with a file outside of it.
struct Place {
    folder: Folder,
    site: Arc<Site>,
    helpers: Rc<Helpers>,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: FileBody,
}

impl Place {
    fn new(index: &str, precompressed: bool) -> Place {
        let folder = Folder::new();
        std::fs::create_dir(folder.join("root")).unwrap();
        std::fs::write(folder.join("secret"), "outside").unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let site = Site::new(&folder.join("root"), index, precompressed, log).unwrap();
        Place { folder, site: Arc::new(site), helpers: Rc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("root").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Moves the last change of a file so far back (or, negative, forth) from now.
    fn age(&self, name: &str, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let time = if seconds < 0 { now + by } else { now - by };
        std::fs::File::options().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
    }

    fn ask(&self, method: Method, target: &str, fields: &[(HeaderName, &str)]) -> Got {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let target: Uri = target.parse().unwrap();
        let (status, headers, body) = wait(answer(&self.site, &self.helpers, &method, &target, &headers));
        Got { status: status.as_u16(), headers, body }
    }

    fn get(&self, target: &str) -> Got {
        self.ask(Method::GET, target, &[])
    }

    fn get_with(&self, target: &str, name: HeaderName, value: &str) -> Got {
        self.ask(Method::GET, target, &[(name, value)])
    }

    fn status(&self, target: &str) -> u16 {
        self.get(target).status
    }
}

impl Got {
    fn field(&self, name: HeaderName) -> &str {
        self.headers.get(&name).map_or("", |value| value.to_str().unwrap())
    }

    fn frame(&mut self) -> Option<io::Result<Vec<u8>>> {
        let body = &mut self.body;
        let frame = wait(poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)))?;
        Some(frame.map(|frame| frame.into_data().unwrap().to_vec()))
    }

    /// All that is left of the body; what was promised is what comes.
    fn body(&mut self) -> Vec<u8> {
        let promised = self.body.size_hint().exact().unwrap();
        let mut all = Vec::new();
        while let Some(frame) = self.frame() {
            all.extend(frame.unwrap());
        }
        assert!(self.body.is_end_stream());
        assert_eq!(all.len() as u64, promised);
        all
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.body()).unwrap()
    }
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let log = Logger::root(slog::Discard, slog::o!());
    let error = Site::new(Path::new("/none/such"), "", false, log).unwrap_err().to_string();
    assert!(error.starts_with("open the folder /none/such: "), "{error}");
}
