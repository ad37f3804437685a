//! Calls of every kind, with and without TLS.

use super::*;

/// Does the same without TLS and with it.
#[track_caller]
fn both_ways(case: &str) {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web);
    for tls in [false, true] {
        stage.client(case, tls).ends_with(&[]);
    }
    assert_eq!(stage.master.service("web").totals.errors, 0);
    end(stage.master);
}

#[test]
fn every_kind_of_call_goes_through() {
    both_ways("all_kinds");
}

#[test]
fn both_sides_of_a_stream_talk_in_turns() {
    both_ways("in_turns");
}

#[test]
fn errors_reach_the_client_with_their_trailers() {
    both_ways("failures");
}

#[test]
fn two_hundred_calls_run_at_once_in_one_connection() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web.http("max_streams = 200"));
    for tls in [false, true] {
        stage.client("parallel", tls).ends_with(&[]);
    }
    assert_eq!(stage.master.service("web").totals.accepted, 2);
    end(stage.master);
}

#[test]
fn more_calls_than_streams_take_their_turns() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web.http("max_streams = 10"));
    stage.client("parallel", true).ends_with(&[]);
    end(stage.master);
}

#[test]
fn a_deadline_ends_a_call_on_both_sides() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web);
    stage.client("deadline", false).ends_with(&[]);
    end(stage.master);
}

#[test]
fn calls_are_counted_as_what_they_are() {
    if no_grpc() {
        return;
    }
    let stage = Stage::new(|web| web);
    let mut peer = stage.client("asleep", true);
    assert_eq!(peer.line(), "open");
    stage.master.wait_status("a call is counted", SOON, |s| {
        let worker = &s.services[0].workers[0];
        worker.active.grpc == 1 && worker.active.total() == 1 && worker.in_flight == 1
    });
    let said = stage.master.cli(&["status", "--connections"]).expect(0);
    assert!(said.stdout.contains("grpc"), "{said:?}");
    peer.say("enough");
    peer.ends_with(&[]);
    end(stage.master);
}
