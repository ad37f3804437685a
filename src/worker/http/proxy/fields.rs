//! Which of the header fields that matter to a proxy a head has, found by looking at each name once.
//!
//! A `HeaderMap` hashes a name to look it up, and most heads have hardly any of these fields: asking for them one by one
//! costs more than the rest of the work on a head. `Fields::of` goes before that work; what a later change takes away may
//! still be said to be there.
//! Never: looks at a value, changes a head.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HeaderMap, HeaderName, PROXY_AUTHENTICATE, TE,
    TRANSFER_ENCODING, UPGRADE,
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

    /// Those that stand in a head.
    pub fn of(headers: &HeaderMap) -> Fields {
        Fields(headers.keys().fold(0, |met, name| met | Fields::named(name).0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn each_field_is_found_and_nothing_else() {
        let all = [
            ("connection", Fields::CONNECTION),
            ("content-length", Fields::CONTENT_LENGTH),
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
}
