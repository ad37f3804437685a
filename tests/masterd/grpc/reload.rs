//! What reloads and drains do to calls: nothing, until their time is up.

use super::*;

#[test]
fn streams_outlive_a_reload() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web);
    let mut peers = [false, true].map(|tls| stage.client("stream", tls));
    peers.iter().for_each(|peer| assert_eq!(peer.line(), "open"));
    stage.master.cli(&["reload"]).expect(0);
    for peer in &mut peers {
        for _ in 0..3 {
            peer.say("more");
            assert_eq!(peer.line(), "open");
        }
        peer.say("enough");
    }
    peers.into_iter().for_each(|peer| peer.ends_with(&["OK"]));
    stage.master.wait_generation(2);
    assert_eq!(stage.master.service("web").totals.cut, 0);
    end(stage.master);
}

#[test]
fn no_call_fails_through_five_reloads() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web.workers(2));
    let peers = [false, true].map(|tls| stage.client("load", tls));
    peers.iter().for_each(|peer| assert_eq!(peer.line(), "open"));
    for _ in 0..5 {
        stage.master.cli(&["reload"]).expect(0);
    }
    let mut made = 0;
    for mut peer in peers {
        peer.say("enough");
        let line = peer.line();
        made += line
            .strip_prefix("made ")
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{line}"));
        peer.ends_with(&[]);
    }
    stage.master.wait_generation(6);
    let totals = stage.master.service("web").totals;
    assert_eq!((totals.cut, totals.errors), (0, 0));
    assert_eq!(totals.requests, made, "whatever came was answered, and nothing had to come twice");
    end(stage.master);
}

#[test]
fn at_the_deadline_streams_are_told_that_the_server_is_leaving() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web.service("drain = { grace = \"200ms\", long_lived_grace = \"300ms\" }"));
    let peers = [false, true].map(|tls| stage.client("waiting", tls));
    peers.iter().for_each(|peer| assert_eq!(peer.line(), "open"));
    stage.master.cli(&["reload"]).expect(0);
    for peer in peers {
        peer.ends_with(&["UNAVAILABLE the server is leaving"]);
    }
    stage.master.wait_generation(2);
    assert_eq!(stage.master.service("web").totals.cut, 2);
    end(stage.master);
}
