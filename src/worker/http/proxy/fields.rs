//! Which of the header fields that matter to a proxy a head has, found by looking at each line once.
//!
//! A `HeaderMap` hashes a name to look it up, and most heads have hardly any of these fields: asking for them one by one
//! costs more than the rest of the work on a head. `Fields::of` goes before that work; what a later change takes away may
//! still be said to be there. Of two fields the usual values are known, so that these need no second look.
//! Never: judges a value, changes a head.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    TE, TRANSFER_ENCODING, UPGRADE,
};

/// The fields of one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u16);

impl Fields {
    pub const CONNECTION: Fields = Fields(1);
    pub const CONTENT_LENGTH: Fields = Fields(1 << 1);
    pub const EXPECT: Fields = Fields(1 << 2);
    pub const FORWARDED: Fields = Fields(1 << 3);
    pub const KEEP_ALIVE: Fields = Fields(1 << 4);
    pub const PROXY_AUTHENTICATE: Fields = Fields(1 << 5);
    pub const PROXY_CONNECTION: Fields = Fields(1 << 6);
    pub const TE: Fields = Fields(1 << 7);
    pub const TRANSFER_ENCODING: Fields = Fields(1 << 8);
    pub const UPGRADE: Fields = Fields(1 << 9);
    pub const X_FORWARDED_FOR: Fields = Fields(1 << 10);
    /// A `Connection` says something else than `keep-alive` or `close`.
    pub const NAMING: Fields = Fields(1 << 11);
    /// `Content-Length` is anything but one line with one number.
    pub const ODD_LENGTH: Fields = Fields(1 << 12);

    /// Those that stand in a head.
    pub fn of(headers: &HeaderMap) -> Fields {
        headers.iter().fold(Fields::default(), |met, (name, value)| {
            let one = Fields::named(name);
            let more = match one {
                Fields::CONNECTION if names_fields(value) => Fields::NAMING.0,
                Fields::CONTENT_LENGTH if met.has(one) || !is_number(value) => Fields::ODD_LENGTH.0,
                _ => 0,
            };
            Fields(met.0 | one.0 | more)
        })
    }

    /// True if this one may be among them.
    pub fn has(self, one: Fields) -> bool {
        self.0 & one.0 != 0
    }

    fn named(name: &HeaderName) -> Fields {
        match *name {
            CONNECTION => Fields::CONNECTION,
            CONTENT_LENGTH => Fields::CONTENT_LENGTH,
            EXPECT => Fields::EXPECT,
            FORWARDED => Fields::FORWARDED,
            PROXY_AUTHENTICATE => Fields::PROXY_AUTHENTICATE,
            TE => Fields::TE,
            TRANSFER_ENCODING => Fields::TRANSFER_ENCODING,
            UPGRADE => Fields::UPGRADE,
            _ => match name.as_str() {
                "keep-alive" => Fields::KEEP_ALIVE,
                "proxy-connection" => Fields::PROXY_CONNECTION,
                "x-forwarded-for" => Fields::X_FORWARDED_FOR,
                _ => Fields::default(),
            },
        }
    }
}

/// `close` is an option that names no field (RFC 9110, 7.6.1); `keep-alive` names one that goes anyway.
fn names_fields(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    !value.eq_ignore_ascii_case(b"keep-alive") && !value.eq_ignore_ascii_case(b"close")
}

/// Digits as they are written by everybody: no zero leads, and they fit into 64 bits.
fn is_number(length: &HeaderValue) -> bool {
    match length.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_found_and_nothing_else() {
        let all = [
            ("connection", Fields(Fields::CONNECTION.0 | Fields::NAMING.0)),
            ("content-length", Fields(Fields::CONTENT_LENGTH.0 | Fields::ODD_LENGTH.0)),
            ("expect", Fields::EXPECT),
            ("forwarded", Fields::FORWARDED),
            ("keep-alive", Fields::KEEP_ALIVE),
            ("proxy-authenticate", Fields::PROXY_AUTHENTICATE),
            ("proxy-connection", Fields::PROXY_CONNECTION),
            ("te", Fields::TE),
            ("transfer-encoding", Fields::TRANSFER_ENCODING),
            ("upgrade", Fields::UPGRADE),
            ("x-forwarded-for", Fields::X_FORWARDED_FOR),
        ];
        for (name, field) in all {
            let mut headers = HeaderMap::new();
            for other in ["host", "x-keep-alive", name, "accept"] {
                headers.insert(other, HeaderValue::from_static("x"));
            }
            assert_eq!(Fields::of(&headers), field, "{name}");
            assert_eq!(all.iter().filter(|(_, other)| field.has(*other)).count(), 1, "{name}");
        }
        assert_eq!(Fields::of(&HeaderMap::new()), Fields::default());
    }

    fn of(lines: &[(&'static str, &'static str)]) -> Fields {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Fields::of(&headers)
    }

    #[test]
    fn usual_values_are_told_from_those_that_need_a_look() {
        for plain in ["0", "7", "1234567890123456789"] {
            assert_eq!(of(&[("content-length", plain)]), Fields::CONTENT_LENGTH, "{plain}");
        }
        for odd in ["", "00", "07", "+1", "1 ", "1, 1", "0x1", "12345678901234567890", "-0"] {
            assert!(of(&[("content-length", odd)]).has(Fields::ODD_LENGTH), "{odd}");
        }
        assert!(of(&[("content-length", "1"), ("content-length", "1")]).has(Fields::ODD_LENGTH));
        for plain in ["close", "Keep-Alive"] {
            assert_eq!(of(&[("connection", plain)]), Fields::CONNECTION, "{plain}");
        }
        for naming in ["", "x", "close, x", "keep-alive,te"] {
            assert!(of(&[("connection", naming)]).has(Fields::NAMING), "{naming}");
        }
        assert!(of(&[("connection", "close"), ("connection", "x")]).has(Fields::NAMING));
    }
}
