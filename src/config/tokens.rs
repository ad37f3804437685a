//! `{tokens}` in the command and environment of a program: what they are, and what takes their place.
//!
//! `check` looks at them when a config is read, the keeper calls `replace` when a program is started, so both read a
//! text in the same way. What is no token stays as it is, braces and all. Never: fails; a token for which there is
//! no value is left alone (a checked config has none of those).

use super::types::Exec;

/// What a worker's tokens stand for.
pub struct Tokens<'a> {
    /// Name of the listener, number of its descriptor in the program, and address as it is really bound:
    /// "IP:PORT", "[IPv6]:PORT", a path, or "@NAME". In the order of the config.
    pub listeners: &'a [(String, i32, String)],
    pub seat: u32,
    pub generation: u64,
    /// The descriptor on which the program says that it is ready, if it is to.
    pub ready_fd: Option<i32>,
}

/// One token; the name is that of a listener, without it the first one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Fd(Option<&'a str>),
    Addr(Option<&'a str>),
    Seat,
    Generation,
    ReadyFd,
}

/// The text with every token replaced, once: what a token stands for is not searched again.
pub fn replace(text: &str, tokens: &Tokens<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    for (piece, token) in pieces(text) {
        match token.and_then(|token| tokens.value(token)) {
            Some(value) => out.push_str(&value),
            None => out.push_str(piece),
        }
    }
    out
}

/// Whether a program is told of its sockets by a `{fd}` or `{addr}`, of any listener, in its command or
/// environment. Then the variables of sd_listen_fds(3) are withheld: some programs refuse to have both.
pub fn names_sockets(exec: &Exec) -> bool {
    let mut texts = exec.command.iter().chain(exec.env.values());
    texts.any(|text| tokens_in(text).any(|token| matches!(token, Token::Fd(_) | Token::Addr(_))))
}

/// The tokens of a text, in order.
pub(super) fn tokens_in(text: &str) -> impl Iterator<Item = Token<'_>> {
    pieces(text).filter_map(|(_, token)| token)
}

impl Tokens<'_> {
    fn value(&self, token: Token<'_>) -> Option<String> {
        let listener = |name: Option<&str>| match name {
            Some(name) => self.listeners.iter().find(|(known, ..)| known == name),
            None => self.listeners.first(),
        };
        match token {
            Token::Fd(name) => listener(name).map(|(_, fd, _)| fd.to_string()),
            Token::Addr(name) => listener(name).map(|(.., address)| address.clone()),
            Token::Seat => Some(self.seat.to_string()),
            Token::Generation => Some(self.generation.to_string()),
            Token::ReadyFd => self.ready_fd.map(|fd| fd.to_string()),
        }
    }
}

/// A text cut up so that each token is a piece of its own; the pieces together are the text.
fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<Token<'_>>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at_start = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let token = at_start.and_then(|(inner, _)| Some((inner.len() + 2, token(inner)?)));
        let (piece, found) = match token {
            Some((length, token)) => (&rest[..length], Some(token)),
            // Up to the next brace that may begin one: not this one, which does not.
            None => {
                let next = rest.char_indices().skip(1).find(|(_, c)| *c == '{');
                (&rest[..next.map_or(rest.len(), |(at, _)| at)], None)
            }
        };
        rest = &rest[piece.len()..];
        (!piece.is_empty()).then_some((piece, found))
    })
}

/// What stands between two braces, if it is a token.
fn token(inner: &str) -> Option<Token<'_>> {
    match inner {
        "fd" => Some(Token::Fd(None)),
        "addr" => Some(Token::Addr(None)),
        "seat" => Some(Token::Seat),
        "generation" => Some(Token::Generation),
        "ready_fd" => Some(Token::ReadyFd),
        _ => {
            let fd = inner.strip_prefix("fd:").map(|name| Token::Fd(Some(name)));
            fd.or_else(|| inner.strip_prefix("addr:").map(|name| Token::Addr(Some(name))))
        }
    }
}

impl std::fmt::Display for Token<'_> {
    /// As it is written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Fd(Some(name)) => write!(f, "{{fd:{name}}}"),
            Token::Addr(Some(name)) => write!(f, "{{addr:{name}}}"),
            Token::Fd(None) => f.write_str("{fd}"),
            Token::Addr(None) => f.write_str("{addr}"),
            Token::Seat => f.write_str("{seat}"),
            Token::Generation => f.write_str("{generation}"),
            Token::ReadyFd => f.write_str("{ready_fd}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replaced(text: &str) -> String {
        let listeners = [
            ("web".to_owned(), 3, "127.0.0.1:8080".to_owned()),
            ("web-2".to_owned(), 4, "[::1]:81".to_owned()),
            ("seat".to_owned(), 5, "@{seat}".to_owned()),
        ];
        replace(text, &Tokens { listeners: &listeners, seat: 7, generation: 12, ready_fd: Some(9) })
    }

    #[test]
    fn tokens_are_replaced_and_other_braces_stay() {
        for (text, expected) in [
            ("{fd}", "3"),
            ("fd://{fd},{fd:web-2}", "fd://3,4"),
            ("{addr} {addr:web} {addr:web-2}", "127.0.0.1:8080 127.0.0.1:8080 [::1]:81"),
            ("{addr:seat}", "@{seat}"),
            ("{seat}{generation}{ready_fd}", "7129"),
            ("{{seat}}", "{7}"),
            ("{\"a\": {\"b\": {seat}}}", "{\"a\": {\"b\": 7}}"),
            ("{fd", "{fd"),
            ("fd}", "fd}"),
            ("{FD}{ fd }{fd }{fdx}{}{:}", "{FD}{ fd }{fd }{fdx}{}{:}"),
            ("{fd:}{fd:none}{addr:none}", "{fd:}{fd:none}{addr:none}"),
            ("{é{seat}é}", "{é7é}"),
            ("${HOME} {pid}", "${HOME} {pid}"),
            ("", ""),
        ] {
            assert_eq!(replaced(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_left_alone() {
        let none = Tokens { listeners: &[], seat: 0, generation: 1, ready_fd: None };
        assert_eq!(replace("{fd} {addr} {ready_fd} {seat}", &none), "{fd} {addr} {ready_fd} 0");
    }

    #[test]
    fn a_token_shows_itself_as_it_is_written() {
        let text = "{fd}{fd:a}{addr}{addr:b}{seat}{generation}{ready_fd}";
        assert_eq!(tokens_in(text).map(|token| token.to_string()).collect::<String>(), text);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_pieces_are_the_text(text in "(\\{|\\}|fd|addr|seat|:|é| |.){0,12}") {
            prop_assert_eq!(pieces(&text).map(|(piece, _)| piece).collect::<String>(), text.clone());
            let unknown = Tokens { listeners: &[], seat: 0, generation: 0, ready_fd: None };
            if tokens_in(&text).all(|token| matches!(token, Token::Fd(_) | Token::Addr(_))) {
                prop_assert_eq!(replace(&text, &unknown), text);
            }
        }
    }
}
