//! The seven promises of the README, and the tests that hold each: a promise without one fails here.

use std::fs;
use std::path::Path;

/// A promise's number, how it begins in the README, and who holds it.
const PROMISES: [(u32, &str, &[&str]); 7] = [
    (
        1,
        "Nothing is refused or cut off",
        &[
            "twenty_hups_100_ms_apart_lose_nothing",
            "unix_and_shared_listeners_lose_nothing_either",
            "the_number_of_workers_changes_under_load",
            "what_waits_in_the_queue_when_a_stop_begins_is_served",
            "a_request_in_flight_is_answered_by_a_graceful_stop",
            "ten_thousand_idle_connections_live_through_a_reload",
            "the_binary_is_replaced_under_load_and_nothing_is_lost",
            "ten_upgrades_in_a_row_lose_nothing_and_leave_nothing",
            "no_word_is_lost_in_an_exec",
            "reloads_under_load_lose_no_request",
            "what_is_under_way_goes_on_through_a_reload",
            "a_running_tunnel_goes_on_through_a_reload",
            "a_killed_worker_costs_its_own_requests_only",
            "reloads_under_load_lose_nothing",
            "datagrams_are_served_through_a_reload",
            "one_that_serves_before_it_counts_as_ready_is_taken_back_in_good_order",
        ],
    ),
    (
        2,
        "What does not come up changes nothing",
        &[
            "a_config_that_is_none_changes_nothing",
            "a_listener_that_cannot_be_bound_fails_the_reload_whole",
            "what_fails_is_mended_ten_times_over",
            "a_worker_that_dies_before_it_is_ready_fails_the_reload_at_once",
            "a_worker_that_never_becomes_ready_fails_the_reload_at_the_timeout",
            "what_is_no_program_or_no_masterd_changes_nothing",
            "a_candidate_that_does_not_prove_itself_changes_nothing",
            "an_image_that_crashes_or_panics_gives_the_process_back",
            "an_image_that_stands_still_while_it_is_watched_is_replaced",
            "a_new_version_that_crashes_changes_nothing_and_its_last_words_are_told",
            "one_that_never_accepts_is_given_up_and_it_is_told_what_was_missing",
        ],
    ),
    (
        3,
        "Every connection is counted",
        &[
            "totals_are_right_after_200_kills_under_load",
            "gauges_of_the_dead_are_gone_and_their_counters_stay",
            "what_a_removed_service_counted_is_there_when_it_comes_back",
            "every_request_is_counted_once_and_no_counter_runs_backwards",
            "a_death_and_a_crash_at_the_same_time_count_nothing_twice",
            "connections_are_counted_by_worker_and_by_listener",
            "a_program_that_counts_itself_is_believed_within_bounds",
        ],
    ),
    (
        4,
        "A worker can't hurt the master",
        &[
            "a_worker_of_another_user_reaches_its_own_slot_only",
            "lies_of_workers_of_the_masters_user_hurt_nobody",
        ],
    ),
    // Comes with migration; until then idle connections are announced, and none is lost.
    (5, "A connection outlives its worker", &["an_announcement_loses_no_request_at_all"]),
    (
        6,
        "The master never blocks, never runs a thread",
        &["a_fifo_is_waited_for_by_nobody_but_the_asker", "a_killed_config_reader_fails_the_reload_only"],
    ),
    (
        7,
        "Old generations don't pile up",
        &[
            "a_thousand_hups_in_a_second_end_with_one_generation",
            "a_reload_beyond_the_bound_waits_for_the_oldest_to_have_had_its_grace",
            "a_thousand_reloads_during_a_reload_are_one_more",
        ],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_promise_of_the_readme_is_held_by_tests() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, promises) = readme.split_once("## Promises").expect("the README opens with its promises");
    let promises = promises.split("\n## ").next().unwrap_or_default();
    let count = promises.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).count();
    assert_eq!(count, PROMISES.len(), "the README has {count} promises");
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    sources(&root().join("tests"), &mut code);
    for (number, begins, tests) in PROMISES {
        assert!(promises.contains(&format!("{number}. **{begins}")), "promise {number} is not in the README");
        assert!(!tests.is_empty(), "promise {number} is held by no test");
        for test in tests {
            assert!(
                code.contains(&format!("fn {test}()")) || code.contains(&format!("(\"{test}\",")),
                "promise {number}: there is no test {test}"
            );
        }
    }
}
