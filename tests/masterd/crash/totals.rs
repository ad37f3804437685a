//! Totals stay right and never run backwards, whatever ends.

use super::killed::settle;
use crate::harness::{Load, Master, Mix, Place, SOON, Signal, Web};
use crate::meddle::{Sampler, end, held_by, send};

#[test]
fn totals_never_run_backwards_and_come_out_right() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).text());
    master.expect_error("worker died");
    let sampler = Sampler::start(place.socket());
    let load = Load::with(&master.address(), Mix { fresh: 4, ..Mix::none() });
    settle(&master);
    let mut held = 0;
    for round in 0..4 {
        let victim = master.ready_pids("web")[round];
        held += held_by(&master, victim);
        send(victim, Signal::SIGKILL);
        master.wait_status("it is replaced", SOON, |s| {
            s.services[0].workers_ready == 4 && s.services[0].workers.iter().all(|w| w.pid != victim)
        });
        master.cli(&["reload"]).expect(0);
        load.wait_answers(100);
        settle(&master);
    }
    let report = load.stop();
    let lost = report.lost.len() as u64;
    assert!(lost <= held, "{held} were open: {:?}", report.lost);
    let status = master.wait_generation(5);
    let samples = sampler.finish();
    assert_eq!(samples.backwards, Vec::<String>::new());
    assert!(samples.count > 50, "{samples:?}");
    assert!(samples.slowest.as_secs() < 5, "{samples:?}");
    let totals = &status.services[0].totals;
    // One connection and one request for each answer; what was lost may have been counted or not.
    let range = report.answered..=report.answered + lost;
    assert!(range.contains(&totals.requests), "{totals:?} for {} answers, {lost} lost", report.answered);
    assert!(range.contains(&totals.accepted), "{totals:?} for {} answers, {lost} lost", report.answered);
    assert!(totals.bytes_out > 80 * report.answered && totals.bytes_in > 40 * report.answered, "{totals:?}");
    assert_eq!((totals.deaths, totals.cut), (4, 0), "{totals:?}");
    let open: u64 = status.services[0].workers.iter().map(|w| w.active.http + w.idle + w.in_flight).sum();
    assert_eq!(open, 0, "no gauge is left behind: {status:?}");
    end(master);
}

#[test]
fn twenty_kills_in_a_row_leave_right_figures() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(20).text());
    master.expect_error("worker died");
    let load = Load::with(&master.address(), Mix { fresh: 6, ..Mix::none() });
    settle(&master);
    for victim in master.ready_pids("web") {
        send(victim, Signal::SIGKILL);
        load.wait_answers(20);
    }
    let status = master.wait_status("all are back", SOON, |s| {
        s.services[0].workers_ready == 20 && s.services[0].totals.deaths == 20
    });
    let report = load.stop();
    let lost = report.lost.len() as u64;
    assert!(lost <= 6 * 20, "{:?}", report.lost);
    assert!(report.lost.iter().all(|l| !l.contains("no connection")), "{:?}", report.lost);
    assert_eq!(status.services[0].workers.len(), 20);
    let status = master.wait_status("nothing is open", SOON, |s| {
        s.services[0].workers.iter().all(|w| w.active.http == 0 && w.in_flight == 0 && w.idle == 0)
    });
    let totals = &status.services[0].totals;
    let range = report.answered..=report.answered + lost;
    assert!(range.contains(&totals.requests), "{totals:?} for {} answers, {lost} lost", report.answered);
    assert!(range.contains(&totals.accepted), "{totals:?} for {} answers, {lost} lost", report.answered);
    end(master);
}
