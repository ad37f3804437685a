//! HPACK (RFC 7541) as far as a test needs it: heads are written without compression, and read without a table.
//!
//! Of the Huffman code only what is shorter than ten bits is known, which is all that heads in tests are made of.

/// Fields, each a literal that nobody is to remember.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// Without Huffman coding.
pub fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut left = text.len();
    if left < 127 {
        block.push(left as u8);
    } else {
        block.push(127);
        left -= 127;
        while left >= 128 {
            block.push((left % 128) as u8 | 128);
            left /= 128;
        }
        block.push(left as u8);
    }
    block.extend(text);
}

/// Reads heads of a server that was told to keep a table of no size.
#[derive(Debug)]
pub struct Decoder;

impl Decoder {
    #[track_caller]
    pub fn decode(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let (name, value) = entry(integer(&mut rest, 7));
                fields.push((name.to_owned(), value.to_owned()));
            } else if first & 0xe0 == 0x20 {
                // Another size of the table.
                integer(&mut rest, 5);
            } else {
                let index = integer(&mut rest, if first & 0x40 != 0 { 6 } else { 4 });
                let name = if index == 0 { text(&mut rest) } else { entry(index).0.to_owned() };
                fields.push((name, text(&mut rest)));
            }
        }
        fields
    }
}

fn integer(rest: &mut &[u8], bits: u32) -> usize {
    let most = (1usize << bits) - 1;
    let mut n = usize::from(rest[0]) & most;
    *rest = &rest[1..];
    let mut shift = 0;
    while n >= most {
        let byte = rest[0];
        *rest = &rest[1..];
        n += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    n
}

fn text(rest: &mut &[u8]) -> String {
    let packed = rest[0] & 0x80 != 0;
    let length = integer(rest, 7);
    let (bytes, left) = rest.split_at(length);
    *rest = left;
    if packed { unpack(bytes) } else { String::from_utf8_lossy(bytes).into_owned() }
}

/// The symbols with codes of five to eight bits, in the order of their codes (appendix B).
const CODES: [(u32, &str); 4] = [
    (5, "012aceiost"),
    (6, " %-./3456789=A_bdfghlmnpru"),
    (7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, "&*,;XZ"),
];

fn unpack(bytes: &[u8]) -> String {
    let all = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let (mut text, mut code, mut length) = (String::new(), 0, 0);
    for bit in all {
        (code, length) = (code << 1 | bit, length + 1);
        let mut first = 0;
        for (bits, symbols) in CODES {
            if bits == length
                && let Some(symbol) = code.checked_sub(first).and_then(|n| symbols.chars().nth(n as usize))
            {
                text.push(symbol);
                (code, length) = (0, 0);
                break;
            }
            first = (first + symbols.len() as u32) << 1;
        }
    }
    // What is left is padding: ones, and less than a byte; anything else is a symbol that is not known here.
    if length > 7 {
        text.push('?');
    }
    text
}

/// The static table (appendix A), from 1; what it says of an index beyond it is a mistake of the server.
#[track_caller]
fn entry(index: usize) -> (&'static str, &'static str) {
    *STATIC.get(index.wrapping_sub(1)).unwrap_or_else(|| panic!("no entry {index} in the table"))
}

const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
