//! A strict reader of HTTP/1 messages, for both sides of the proxy: what reaches the origin and what
//! reaches the client must be readable in one way only, so whatever another reader might take otherwise
//! is an error here (RFC 9112 in its narrowest reading).
//!
//! It never guesses: bare CR or LF, folds, names that are no tokens, two framings, a length that is not
//! digits alone, a coding other than `chunked`, chunk extensions: all `Err`.

use std::fmt;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    UntilClose,
}

/// How a stream of bytes has ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    Fin,
    Reset,
}

/// What is read: a request, or the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Answer { to_head: bool },
}

/// A message, or as much of it as there is behind a complete head.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub line: String,
    /// Names in lower case; each byte of a value is one character.
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    /// Without the framing.
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Its end was there too.
    pub whole: bool,
}

/// For people: on one line, long values shortened.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.line)?;
        for (name, value) in self.fields.iter().take(8) {
            write!(f, " {name}: {:?}", value.get(..80).unwrap_or(value))?;
        }
        let body = text(&self.body[..self.body.len().min(100)]);
        write!(f, " ({} fields, {:?}, whole: {}) {body:?}", self.fields.len(), self.framing, self.whole)?;
        if self.trailers.is_empty() { Ok(()) } else { write!(f, " trailers {:?}", self.trailers) }
    }
}

impl Message {
    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The elements of a field that is a list, in lower case.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let elements = self.values(name).into_iter().flat_map(|v| v.split(','));
        elements.map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty()).collect()
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.line.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Method and target of a request.
    pub fn asks(&self) -> &str {
        self.line.rsplit_once(' ').map_or("", |(asks, _)| asks)
    }

    pub fn is_old(&self) -> bool {
        self.line.starts_with("HTTP/1.0") || self.line.ends_with("HTTP/1.0")
    }

    /// Whether the sender says that it closes.
    pub fn closes(&self) -> bool {
        let said = self.elements("connection");
        said.iter().any(|e| e == "close") || (self.is_old() && !said.iter().any(|e| e == "keep-alive"))
    }
}

/// Reads the first message: None if its head is not complete; else it, and how many bytes are its own.
pub fn read(bytes: &[u8], kind: Kind, end: End) -> Result<Option<(Message, usize)>, String> {
    let Some((lines, head)) = lines(bytes)? else { return Ok(None) };
    let (first, rest) = lines.split_first().ok_or("an empty line instead of a head")?;
    match kind {
        Kind::Request => request_line(first)?,
        Kind::Answer { .. } => status_line(first)?,
    }
    let fields = rest.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let mut message = Message {
        line: text(first),
        fields,
        framing: Framing::None,
        body: Vec::new(),
        trailers: Vec::new(),
        whole: false,
    };
    let length = framing(&mut message, kind)?;
    let rest = &bytes[head..];
    let used = match message.framing {
        Framing::None => {
            message.whole = true;
            0
        }
        Framing::Length => {
            let used = length.min(rest.len());
            message.body = rest[..used].to_vec();
            message.whole = used == length;
            used
        }
        Framing::Chunked => chunks(rest, &mut message)?,
        Framing::UntilClose => {
            message.body = rest.to_vec();
            message.whole = end == End::Fin;
            rest.len()
        }
    };
    Ok(Some((message, head + used)))
}

/// Lines up to an empty one, and where what follows begins.
type Lines<'a> = (Vec<&'a [u8]>, usize);

/// None if there is no empty line yet.
fn lines(bytes: &[u8]) -> Result<Option<Lines<'_>>, String> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let length = rest.windows(2).position(|w| w == b"\r\n");
        let line = &rest[..length.unwrap_or(rest.len())];
        // A CR at the very end may be half of a CRLF.
        let inner = if length.is_none() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        if inner.contains(&b'\n') || inner.contains(&b'\r') {
            return Err(format!("a bare CR or LF in {:?}", text(line)));
        }
        let Some(length) = length else { return Ok(None) };
        at += length + 2;
        if length == 0 {
            return Ok(Some((found, at)));
        }
        found.push(line);
    }
}

fn request_line(line: &[u8]) -> Result<(), String> {
    let parts: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(format!("no request line: {:?}", text(line)));
    };
    let seen = |b: &u8| (0x21..=0x7e).contains(b) && *b != b'#';
    let form = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    let good = is_token(method) && form && target.iter().all(seen);
    if good && matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Ok(());
    }
    Err(format!("a request line for nobody: {:?}", text(line)))
}

fn status_line(line: &[u8]) -> Result<(), String> {
    let good = (line.starts_with(b"HTTP/1.1 ") || line.starts_with(b"HTTP/1.0 "))
        && line.len() >= 12
        && line[9..12].iter().all(u8::is_ascii_digit)
        && matches!(line[9], b'1'..=b'9')
        && matches!(line.get(12), None | Some(b' '))
        && line.iter().all(is_text);
    if good { Ok(()) } else { Err(format!("no status line: {:?}", text(line))) }
}

fn field(line: &[u8]) -> Result<(String, String), String> {
    let at = line.iter().position(|b| *b == b':').ok_or_else(|| format!("no colon: {:?}", text(line)))?;
    let (name, value) = (&line[..at], &line[at + 1..]);
    if !is_token(name) {
        return Err(format!("no name: {:?}", text(line)));
    }
    if !value.iter().all(is_text) {
        return Err(format!("a control character: {:?}", text(line)));
    }
    Ok((text(name).to_ascii_lowercase(), text(value).trim_matches([' ', '\t']).to_owned()))
}

/// Says how the body is framed; its length, if that was said in figures.
fn framing(message: &mut Message, kind: Kind) -> Result<usize, String> {
    let (lengths, codings) = (message.values("content-length"), message.values("transfer-encoding"));
    let length = match lengths[..] {
        [] => None,
        [one] if !one.is_empty() && one.bytes().all(|b| b.is_ascii_digit()) => {
            Some(one.parse::<usize>().map_err(|_| format!("no length: {one:?}"))?)
        }
        _ => return Err(format!("lengths {lengths:?}")),
    };
    let chunked = match codings[..] {
        [] => false,
        [one] if one.eq_ignore_ascii_case("chunked") => true,
        _ => return Err(format!("codings {codings:?}")),
    };
    if chunked && (length.is_some() || message.is_old()) {
        return Err(format!("a coding in {:?} with lengths {lengths:?}", message.line));
    }
    let status = message.status();
    let bodiless = match kind {
        Kind::Request => false,
        Kind::Answer { to_head } => to_head || status < 200 || matches!(status, 204 | 304),
    };
    if kind != Kind::Request && (status < 200 || status == 204) && (chunked || length.is_some()) {
        return Err(format!("framing in {:?}", message.line));
    }
    message.framing = match length {
        _ if bodiless => Framing::None,
        _ if chunked => Framing::Chunked,
        Some(_) => Framing::Length,
        None if kind == Kind::Request => Framing::None,
        None => Framing::UntilClose,
    };
    Ok(length.unwrap_or(0))
}

/// Takes chunks out of their framing; how many bytes they and their framing are.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(line) = rest.windows(2).position(|w| w == b"\r\n") else {
            let size = rest.strip_suffix(b"\r").unwrap_or(rest);
            return if size.iter().all(u8::is_ascii_hexdigit) {
                Ok(bytes.len())
            } else {
                Err(format!("no chunk size: {:?}", text(rest)))
            };
        };
        let digits = &rest[..line];
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size = usize::from_str_radix(&text(digits), 16).ok().filter(|_| plain);
        let size = size.ok_or_else(|| format!("no chunk size: {:?}", text(digits)))?;
        at += line + 2;
        if size == 0 {
            let Some((lines, used)) = lines(&bytes[at..])? else { return Ok(bytes.len()) };
            message.trailers = lines.into_iter().map(field).collect::<Result<_, _>>()?;
            message.whole = true;
            return Ok(at + used);
        }
        let there = size.min(bytes.len() - at);
        message.body.extend_from_slice(&bytes[at..at + there]);
        let end = &bytes[at + there..];
        if there < size || end.len() < 2 {
            return if b"\r\n".starts_with(end) {
                Ok(bytes.len())
            } else {
                Err(format!("a chunk does not end: {:?}", text(end)))
            };
        }
        if !end.starts_with(b"\r\n") {
            return Err(format!("a chunk does not end: {:?}", text(&end[..2])));
        }
        at += there + 2;
    }
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// What may stand in a value: anything but control characters other than the tabulator.
fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)
}

/// Each byte a character: nothing is lost, nothing fails.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// What the strict reader must not take, each wrong in one way.
#[test]
fn the_strict_reader_is_strict() {
    let ask = |bytes: &str| read(bytes.as_bytes(), Kind::Request, End::Open);
    let told = |bytes: &str| read(bytes.as_bytes(), Kind::Answer { to_head: false }, End::Open);
    for line in [
        "GET /a HTTP/2.0",
        "GET  /a HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "G@T /a HTTP/1.1",
        "GET /a\u{1} HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET\t/a\tHTTP/1.1",
        "GET /a\rHTTP/1.1",
    ] {
        assert!(ask(&format!("{line}\r\n\r\n")).is_err(), "{line:?}");
    }
    for fields in [
        "A",
        ": b",
        "A : b",
        " A: b",
        "A: b\r\n c",
        "A: b\nC: d",
        "A: b\rC: d",
        "A: \0",
        "A: \u{7f}",
        "A(: b",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length:",
        "Content-Length: 5\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        assert!(ask(&format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n")).is_err(), "{fields:?}");
        assert!(told(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(), "{fields:?}");
    }
    for raw in [
        "+5\r\n",
        "0x5\r\n",
        "5;a\r\n",
        " 5\r\n",
        "5\n",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\rX",
        "0\r\n\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "10000000000000000\r\n",
        "\r\n",
    ] {
        let bytes = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{raw}");
        assert!(ask(&bytes).is_err(), "{raw:?}");
    }
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 No",
        "HTTP/1.1\t200 OK",
        "noise",
    ] {
        assert!(told(&format!("{line}\r\n\r\n")).is_err(), "{line:?}");
    }
    assert!(told("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n").is_err());
    assert!(ask("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

/// Where a message ends, and whether that is its end.
#[test]
fn the_strict_reader_reads() {
    let request =
        "POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n";
    let more = format!("{request}GET");
    let (message, used) = read(more.as_bytes(), Kind::Request, End::Open).expect("good").expect("whole");
    assert_eq!((message.body.as_slice(), used, message.whole), (b"abc".as_slice(), request.len(), true));
    assert_eq!((message.asks(), message.trailers.len()), ("POST /a", 1));
    for cut in 0..request.len() {
        let part = read(&request.as_bytes()[..cut], Kind::Request, End::Fin).expect("good so far");
        assert!(part.is_none_or(|(message, used)| !message.whole && used == cut), "{:?}", &request[..cut]);
    }
    let until_end = |end| {
        let bytes = b"HTTP/1.1 200 OK\r\n\r\nabc";
        read(bytes, Kind::Answer { to_head: false }, end).expect("good").expect("a head").0.whole
    };
    assert_eq!([End::Open, End::Fin, End::Reset].map(until_end), [false, true, false]);
}
