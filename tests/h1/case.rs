//! What a case is: what a client sends, what the origin answers, and the outcomes that are safe.
//!
//! Cases are data. Each has a name that is unique in its family and at least one outcome; where the RFCs
//! leave room, every safe outcome is listed, and no other passes.

use crate::message::Framing;

/// The host of all requests, unless a case is about hosts.
pub const HOST: &str = "h1.test";

/// What must never be taken for a request, although it looks like one.
pub const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: h1.test\r\n\r\n";

/// What a client does, one after the other. Then it reads.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// Waits until it has read the head of an answer with this status.
    Told(u16),
    /// Waits until the origin has read the head of a request of this case.
    Begun,
    /// No more will be sent.
    Fin,
}

/// What the origin does about a request, one after the other.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Vec<u8>),
    /// 200 with a body that names request and case.
    Echo,
    After(Gate),
    /// No more will be sent.
    Fin,
    Reset,
}

/// What the origin waits for in the middle of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// The client has sent all that it will.
    Sent,
    /// The client has read the head of a final answer.
    Head,
    /// The client has read an answer to its end.
    Answer,
}

/// An answer of the origin.
#[derive(Clone, Debug)]
pub struct Script {
    /// Begun when the request's head is there, its body or not.
    pub at_head: bool,
    pub acts: Vec<Act>,
}

/// How much of a request must have reached the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// It was begun and never ended, or not even begun.
    Broken,
    /// All of it, or a beginning.
    WholeOrPart,
}

/// A request as the origin must have seen it.
#[derive(Clone, Debug)]
pub struct Want {
    /// Method and target.
    pub asks: String,
    /// None: any, or none.
    pub host: Option<String>,
    pub body: Vec<u8>,
    pub framing: &'static [Framing],
    /// Names that must not be there.
    pub absent: &'static [&'static str],
    /// Fields that must be there once, with this value.
    pub fields: &'static [(&'static str, &'static str)],
    /// The only trailers that may be there.
    pub trailers: &'static [&'static str],
    pub extent: Extent,
    /// It may have been tried again.
    pub again: bool,
    /// `Upgrade: websocket` is passed on.
    pub upgrade: bool,
}

pub fn want(asks: &str) -> Want {
    Want {
        asks: asks.to_owned(),
        host: Some(HOST.to_owned()),
        body: Vec::new(),
        framing: &[Framing::None, Framing::Length],
        absent: &[],
        fields: &[],
        trailers: &[],
        extent: Extent::Whole,
        again: false,
        upgrade: false,
    }
}

impl Want {
    pub fn method(&self) -> &str {
        self.asks.split(' ').next().unwrap_or_default()
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Want {
        self.body = body.as_ref().to_vec();
        self.framing = &[Framing::Length, Framing::Chunked];
        self
    }

    pub fn framing(mut self, framing: &'static [Framing]) -> Want {
        self.framing = framing;
        self
    }

    pub fn host(mut self, host: &str) -> Want {
        self.host = Some(host.to_owned());
        self
    }

    pub fn any_host(mut self) -> Want {
        self.host = None;
        self
    }

    pub fn absent(mut self, names: &'static [&'static str]) -> Want {
        self.absent = names;
        self
    }

    pub fn fields(mut self, fields: &'static [(&'static str, &'static str)]) -> Want {
        self.fields = fields;
        self
    }

    pub fn trailers(mut self, names: &'static [&'static str]) -> Want {
        self.trailers = names;
        self
    }

    pub fn extent(mut self, extent: Extent) -> Want {
        self.extent = extent;
        self
    }

    pub fn upgrade(mut self) -> Want {
        self.upgrade = true;
        self
    }
}

/// An answer of the origin as the client must read it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub absent: &'static [&'static str],
    pub fields: &'static [(&'static str, &'static str)],
}

pub fn answer(status: u16, body: impl AsRef<[u8]>) -> Answer {
    Answer { status, body: body.as_ref().to_vec(), absent: &[], fields: &[] }
}

impl Answer {
    pub fn absent(mut self, names: &'static [&'static str]) -> Answer {
        self.absent = names;
        self
    }

    pub fn fields(mut self, fields: &'static [(&'static str, &'static str)]) -> Answer {
        self.fields = fields;
        self
    }
}

/// What the client must have read.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The proxy's own answer, with one of these statuses.
    Own(&'static [u16]),
    /// That, or the end.
    OwnOrEnd(&'static [u16]),
    /// The origin's `Act::Echo` for the request at the same place.
    Echo,
    Whole(Answer),
    /// A beginning of this answer, and the end came before its end: a client can tell.
    Cut(Answer),
}

/// One way in which a case may end.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seen: Vec<Want>,
    pub replies: Vec<Reply>,
    /// The proxy closes without being asked.
    pub closes: bool,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
    /// One for each request, the last for all further ones; none: `Act::Echo`.
    pub scripts: Vec<Script>,
    pub outcomes: Vec<Outcome>,
    /// Statuses below 200 that the client may read.
    pub interim: &'static [u16],
    /// The proxy must close the origin's connection: what lies in it is nobody's answer.
    pub origin_closed: bool,
}

/// A case of a client that sends these bytes.
pub fn case(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        name: name.into(),
        steps: vec![Step::Send(bytes.as_ref().to_vec())],
        scripts: Vec::new(),
        outcomes: Vec::new(),
        interim: &[],
        origin_closed: false,
    }
}

/// A case of an origin that answers `GET /case` with these bytes, and keeps the connection open.
pub fn answering(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Case {
    case(name, get_with("")).origin(vec![Act::Send(bytes.as_ref().to_vec())])
}

impl Case {
    pub fn then(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    pub fn then_send(self, bytes: impl AsRef<[u8]>) -> Case {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// One more answer of the origin.
    pub fn origin(mut self, acts: Vec<Act>) -> Case {
        self.scripts.push(Script { at_head: false, acts });
        self
    }

    /// One more answer of the origin, given without waiting for the request's body.
    pub fn origin_early(mut self, acts: Vec<Act>) -> Case {
        self.scripts.push(Script { at_head: true, acts });
        self
    }

    /// The origin's last answer goes on like this.
    pub fn and(mut self, acts: impl IntoIterator<Item = Act>) -> Case {
        self.scripts.last_mut().expect("an answer to go on with").acts.extend(acts);
        self
    }

    pub fn interim(mut self, statuses: &'static [u16]) -> Case {
        self.interim = statuses;
        self
    }

    pub fn origin_closed(mut self) -> Case {
        self.origin_closed = true;
        self
    }

    pub fn or(mut self, seen: Vec<Want>, replies: Vec<Reply>, closes: bool) -> Case {
        self.outcomes.push(Outcome { seen, replies, closes });
        self
    }

    /// Answered with one of these, closed, and not one byte of it reached the origin.
    pub fn refused(self, statuses: &'static [u16]) -> Case {
        self.or(vec![], vec![Reply::Own(statuses)], true)
    }

    /// Closed without an answer, and not one byte of it reached the origin.
    pub fn dropped(self) -> Case {
        self.or(vec![], vec![], true)
    }

    /// Answered with one of these, without the origin; the connection may stay.
    pub fn declined(self, statuses: &'static [u16]) -> Case {
        self.or(vec![], vec![Reply::Own(statuses)], false)
    }

    /// These requests and no others reached the origin, and each was answered with its own answer.
    pub fn forwarded(self, wants: impl IntoIterator<Item = Want>) -> Case {
        let seen: Vec<Want> = wants.into_iter().collect();
        let replies = seen.iter().map(|_| Reply::Echo).collect();
        self.or(seen, replies, false)
    }

    /// The client's fault shows within the body: whatever of the request has reached the origin by then,
    /// its end never does.
    pub fn broken(self, want: Want, statuses: &'static [u16]) -> Case {
        self.or(vec![want.extent(Extent::Broken)], vec![Reply::OwnOrEnd(statuses)], true)
    }

    /// `GET /case` was answered with this.
    pub fn answered(self, answer: Answer) -> Case {
        self.or(vec![want("GET /case")], vec![Reply::Whole(answer)], false)
    }

    /// `GET /case` was answered with 502. It may have been tried more than once.
    pub fn bad_gateway(self) -> Case {
        let seen = Want { again: true, ..want("GET /case") };
        self.or(vec![seen], vec![Reply::Own(&[502])], false)
    }

    /// `GET /case` got the beginning of this, or nothing, and a client can tell that there was more.
    pub fn cut(self, answer: Answer) -> Case {
        let seen = || vec![want("GET /case")];
        self.or(seen(), vec![Reply::Cut(answer)], true).or(seen(), vec![], true)
    }

    /// The methods of the answers to be read: whether one has a body depends on it.
    pub fn methods(&self) -> Vec<String> {
        let longest = self.outcomes.iter().max_by_key(|o| o.replies.len()).expect("an outcome");
        let seen = |at: usize| self.outcomes.iter().find_map(|o| o.seen.get(at)).map(Want::method);
        (0..longest.replies.len()).map(|at| seen(at).unwrap_or("GET").to_owned()).collect()
    }
}

/// `GET /case` with these fields.
pub fn get_with(fields: impl AsRef<[u8]>) -> Vec<u8> {
    request("GET /case HTTP/1.1", fields, "")
}

/// `POST /case` with these fields, followed by these bytes.
pub fn post_with(fields: impl AsRef<[u8]>, rest: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST /case HTTP/1.1", fields, rest)
}

/// A request line, the usual host, fields (each with its CRLF), an empty line, and what follows.
pub fn request(line: &str, fields: impl AsRef<[u8]>, rest: impl AsRef<[u8]>) -> Vec<u8> {
    let host = format!("{line}\r\nHost: {HOST}\r\n");
    join(&[host.as_bytes(), fields.as_ref(), b"\r\n", rest.as_ref()])
}

pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
