//! Config texts: one HTTP service with the usual routes, or a TCP service, and what a test wants different.
//!
//! All paths are relative, so everything lands in the test's place: `c.sock` (control socket),
//! `m.pid`. Every body is `pid=… gen=… seat=… mark=…`, so that a client knows who answered and by
//! which config (`mark`). Arguments that are TOML go into the text as they are.
//!
//! Workers are bound to no CPU, unless the test sets `limits` of its own: on a machine with as many CPUs as
//! a service has workers, whatever keeps one of them busy would stop the same worker of every test.

/// A config with one HTTP service, `web`.
#[derive(Clone, Debug)]
pub struct Web {
    name: String,
    listen: Vec<String>,
    workers: String,
    mark: String,
    slow: String,
    master: String,
    service: String,
    http: String,
    routes: String,
    root: Option<String>,
    more: String,
    pid_file: bool,
}

impl Default for Web {
    fn default() -> Web {
        Web::new()
    }
}

impl Web {
    /// Two workers on a port of the kernel's choice; routes `/`, `/slow` (300 ms), `/healthz`,
    /// `/readyz`, `/status`.
    pub fn new() -> Web {
        Web {
            name: "web".to_owned(),
            listen: vec!["\"127.0.0.1:0\"".to_owned()],
            workers: "2".to_owned(),
            mark: "a".to_owned(),
            slow: "300ms".to_owned(),
            master: String::new(),
            service: String::new(),
            http: String::new(),
            routes: String::new(),
            root: None,
            more: String::new(),
            pid_file: true,
        }
    }

    /// Another name than `web`.
    pub fn name(mut self, name: &str) -> Web {
        self.name = name.to_owned();
        self
    }

    /// The only listener: an address ("127.0.0.1:0", "unix:web.sock").
    pub fn listen(self, address: &str) -> Web {
        self.listen_raw(&[&format!("{address:?}")])
    }

    /// All listeners, each as TOML: `"\"127.0.0.1:0\""`, `"{ address = …, accept = \"shared\" }"`.
    pub fn listen_raw(mut self, listeners: &[&str]) -> Web {
        self.listen = listeners.iter().map(|&l| l.to_owned()).collect();
        self
    }

    /// The value of `workers` as TOML: a number, or `{ min = 1, max = 4 }`.
    pub fn workers(mut self, workers: impl ToString) -> Web {
        self.workers = workers.to_string();
        self
    }

    /// What the answers carry as `mark=`, to tell configs apart.
    pub fn mark(mut self, mark: &str) -> Web {
        self.mark = mark.to_owned();
        self
    }

    /// The delay of `/slow`.
    pub fn slow(mut self, delay: &str) -> Web {
        self.slow = delay.to_owned();
        self
    }

    /// A line for `[master]`: `sigterm = "fast"`.
    pub fn master(mut self, line: &str) -> Web {
        self.master += &format!("{line}\n");
        self
    }

    /// A line for the service: `drain = { grace = "2s" }`.
    pub fn service(mut self, line: &str) -> Web {
        self.service += &format!("{line}\n");
        self
    }

    /// A line for `[service.http]`: `keep_alive = "1s"`.
    pub fn http(mut self, line: &str) -> Web {
        self.http += &format!("{line}\n");
        self
    }

    /// One more route: its path, and its action as TOML (`respond = { body = "x" }`).
    pub fn route(mut self, path: &str, action: &str) -> Web {
        self.routes += &route(path, action);
        self
    }

    /// Another action for `/`, and none for `/slow`: `proxy(&origins, "")`.
    pub fn root(mut self, action: &str) -> Web {
        self.root = Some(action.to_owned());
        self
    }

    /// TOML at the very end: another `[[service]]`.
    pub fn more(mut self, text: &str) -> Web {
        self.more += text;
        self
    }

    /// Without a `pid_file`.
    pub fn no_pid_file(mut self) -> Web {
        self.pid_file = false;
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let pid_file = if self.pid_file { "pid_file = \"m.pid\"\n" } else { "" };
        format!("[master]\ncontrol_socket = \"c.sock\"\n{pid_file}{}\n{}", self.master, self.service_text())
            + &self.more
    }

    /// Only the `[[service]]`, to be given to another config's `more`.
    pub fn service_text(&self) -> String {
        let Web { name, workers, mark, slow, service, http, routes, root, .. } = self;
        let listen = self.listen.join(", ");
        let body = format!("pid={{pid}} gen={{generation}} seat={{seat}} mark={mark}\\n");
        let mut text = format!("[[service]]\nname = \"{name}\"\nlisten = [{listen}]\nworkers = {workers}\n");
        if !service.contains("limits") {
            text += "limits = { cpu_affinity = \"off\" }\n";
        }
        text += &format!("{service}[service.http]\n{http}");
        if let Some(action) = root {
            text += &route("/", action);
        } else {
            text += &route("/", &format!("respond = {{ body = \"{body}\" }}"));
            text += &route("/slow", &format!("respond = {{ body = \"{body}\", delay = \"{slow}\" }}"));
        }
        text += &route("/healthz", "health = \"live\"");
        text += &route("/readyz", "health = \"ready\"");
        text += &route("/status", "status = \"json\"");
        text + routes
    }
}

fn route(path: &str, action: &str) -> String {
    format!("[[service.http.route]]\npath = \"{path}\"\n{action}\n")
}

/// The action that passes requests on to these addresses, with more keys as TOML: `read_timeout = "1s"`.
pub fn proxy(upstreams: &[&str], more: &str) -> String {
    format!("proxy = {{ {} }}", upstream(upstreams, more))
}

fn upstream(upstreams: &[&str], more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("upstream = {upstreams:?}{comma}{more}")
}

/// A config with one TCP service, `tcp`, of one worker.
#[derive(Clone, Debug)]
pub struct Tcp {
    listen: String,
    workers: u32,
    service: String,
    tcp: String,
}

impl Tcp {
    /// On a port of the kernel's choice; passes connections on to these addresses, with more keys of `proxy` as TOML.
    pub fn to(upstreams: &[&str], more: &str) -> Tcp {
        Tcp::new(format!("proxy = {{ {} }}\n", upstream(upstreams, more)))
    }

    /// Sends everything back.
    pub fn echo() -> Tcp {
        Tcp::new("echo = true\n".to_owned())
    }

    fn new(tcp: String) -> Tcp {
        Tcp { listen: "127.0.0.1:0".to_owned(), workers: 1, service: String::new(), tcp }
    }

    /// Another address.
    pub fn listen(mut self, address: &str) -> Tcp {
        self.listen = address.to_owned();
        self
    }

    /// A line for the service: `drain = { grace = "2s" }`.
    pub fn service(mut self, line: &str) -> Tcp {
        self.service += &format!("{line}\n");
        self
    }

    /// A line for `[service.tcp]`: `idle_timeout = "1s"`.
    pub fn tcp(mut self, line: &str) -> Tcp {
        self.tcp += &format!("{line}\n");
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let Tcp { listen, workers, service, tcp } = self;
        format!(
            "[master]\ncontrol_socket = \"c.sock\"\npid_file = \"m.pid\"\n[[service]]\nname = \"tcp\"\n\
            listen = [{listen:?}]\nworkers = {workers}\nlimits = {{ cpu_affinity = \"off\" }}\n\
            {service}[service.tcp]\n{tcp}"
        )
    }
}
