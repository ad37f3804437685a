//! Whether a client takes gzip (RFC 9110, 12.5.3).

use hyper::header::{ACCEPT_ENCODING, HeaderMap};

/// True if gzip is acceptable, and not less welcome than the file as it is.
///
/// Of several values for one coding the last counts; a weight that is none is zero.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut plain, mut any) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        let Ok(value) = value.to_str() else { continue };
        for coding in value.split(',') {
            let mut parts = coding.split(';').map(|part| part.trim_matches([' ', '\t']));
            let name = parts.next().unwrap_or_default();
            let weight = weight(parts.next());
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                gzip = Some(weight);
            } else if name.eq_ignore_ascii_case("identity") {
                plain = Some(weight);
            } else if name == "*" {
                any = Some(weight);
            }
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= plain.unwrap_or(0)
}

/// A weight in thousandths: 1000 if none is given.
fn weight(parameter: Option<&str>) -> u32 {
    let Some(parameter) = parameter else { return 1000 };
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    let (whole, rest) = value.map_or(("", ""), |value| value.split_once('.').unwrap_or((value, "")));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, format!("{rest:0<3}").parse()) {
        ("0", Ok(thousandths)) if digits => thousandths,
        ("1", Ok(0)) if digits => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn gzip_is_taken_when_it_is_asked_for() {
        for (values, taken) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["gzip, deflate, br"], true),
            (&["br;q=1.0, GZIP;Q=0.001"], true),
            (&["x-gzip"], true),
            (&["deflate", "gzip ; q=0.5"], true),
            (&["*"], true),
            (&[""], false),
            (&["deflate"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["*, gzip;q=0"], false),
            (&["*;q=0"], false),
            (&["gzip, *;q=0"], true),
            (&["identity"], false),
            (&["gzip;q=0.5, identity;q=0.8"], false),
            (&["gzip;q=0.8, identity;q=0.5"], true),
            (&["gzip;q=1, identity;q=1"], true),
            (&["gzip;q=x"], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=0.1234"], false),
            (&["gzip;level=1"], false),
            (&["gzipped"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes_gzip(&headers), taken, "{values:?}");
        }
    }
}
