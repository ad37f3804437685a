//! Bodies of more than one piece, and files that change meanwhile.

use super::body::PIECE;
use super::*;
use hyper::header::{CONTENT_LENGTH, RANGE};

const SIZE: usize = 3 * PIECE + 17;

/// Bytes that differ from piece to piece.
fn bytes() -> Vec<u8> {
    (0..SIZE).map(|n| (n / 7 % 251) as u8).collect()
}

fn large() -> Place {
    let place = Place::new("", false);
    place.write("large", bytes());
    place
}

#[test]
fn a_large_file_comes_in_pieces() {
    let place = large();
    let mut got = place.get("/large");
    assert_eq!((got.status, got.field(CONTENT_LENGTH)), (200, SIZE.to_string().as_str()));
    let mut all = Vec::new();
    for length in [PIECE, PIECE, PIECE, 17] {
        assert_eq!(got.body.size_hint().exact(), Some((SIZE - all.len()) as u64));
        assert!(!got.body.is_end_stream());
        let piece = got.frame().unwrap().unwrap();
        assert_eq!(piece.len(), length);
        all.extend(piece);
    }
    assert!(got.body.is_end_stream() && got.frame().is_none());
    assert!(all == bytes());
    for (range, want) in [("bytes=100-", &bytes()[100..]), ("bytes=65535-131073", &bytes()[65535..131_074])] {
        assert!(place.get_with("/large", RANGE, range).body() == want, "{range}");
    }
    place.write("exact", vec![1; 2 * PIECE]);
    assert_eq!(place.get("/exact").body(), vec![1; 2 * PIECE]);
}

#[test]
fn a_file_cut_short_while_it_is_sent_ends_in_an_error() {
    for left in [0, PIECE, 2 * PIECE + 1] {
        let place = large();
        let mut got = place.get("/large");
        assert_eq!(got.frame().unwrap().unwrap().len(), PIECE);
        std::fs::File::options().write(true).open(place.path("large")).unwrap().set_len(left as u64).unwrap();
        let mut more = 0;
        let error = loop {
            match got.frame() {
                Some(Ok(piece)) => more += piece.len(),
                Some(Err(error)) => break error.to_string(),
                None => panic!("the end after {more} bytes, and nobody can know that it is none"),
            }
        };
        assert_eq!(more, left.saturating_sub(PIECE) / PIECE * PIECE, "whole pieces only");
        assert!(
            error.contains("/large at ") && error.ends_with("become shorter while it was sent"),
            "{error}"
        );
        assert!(got.frame().is_none(), "and no more after that");
    }
}

#[test]
fn a_file_that_grows_or_is_replaced_is_sent_as_it_was() {
    let place = large();
    let mut got = place.get("/large");
    place.write("new", "new");
    let mut longer = bytes();
    longer.extend(b"more");
    // Written in place, longer; then another one by that name.
    place.write("large", &longer);
    std::fs::rename(place.path("new"), place.path("large")).unwrap();
    assert!(got.body() == bytes());
    assert_eq!(place.get("/large").text(), "new");
}

#[test]
fn an_answer_under_way_is_finished_however_much_waits() {
    use crate::worker::engine::helpers::tests::{fill, occupy};
    let place = large();
    let mut got = place.get("/large");
    let (go, running) = occupy(&place.helpers);
    let waiting = fill(&place.helpers);
    assert_eq!(place.status("/large"), 503);
    assert_eq!(got.frame().unwrap().unwrap().len(), PIECE, "that one was there");
    // Asked for while there is no room, and only then let through.
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(Pin::new(&mut got.body).poll_frame(&mut context).is_pending());
    drop(go);
    assert!(got.body() == bytes()[PIECE..]);
    drop((running, waiting));
}
