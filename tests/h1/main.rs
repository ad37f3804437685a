//! HTTP/1.1 through the proxy, byte by byte: what a bad client or a bad origin sends is refused, or goes
//! on in a form that can be read in one way only, and nobody ever gets an answer that is not his.
//!
//! Cases are data (`requests`, `answers`), from RFC 9110 and RFC 9112. `run` sends each through the real
//! binary to an origin that records every byte (`origin`); `check` holds what came of it against the
//! outcomes that are safe. A new case is a row in a table.

mod answers;
mod case;
mod check;
mod client;
#[path = "../masterd/harness/mod.rs"]
mod harness;
mod message;
mod origin;
mod queue;
mod requests;
mod run;

/// One test a family: the name, and the cases.
macro_rules! families {
    ($($name:ident: $($module:ident)::+;)*) => {
        $(#[test]
        fn $name() {
            run::family(&$($module)::+::cases());
        })*
    };
}

families! {
    requests_with_lengths: requests::lengths;
    requests_with_codings: requests::codings;
    requests_in_chunks: requests::chunks;
    requests_that_end_too_early: requests::ends;
    line_ends_of_requests: requests::lines;
    fields_of_requests: requests::fields;
    request_lines: requests::targets;
    hosts_of_requests: requests::hosts;
    fields_of_one_hop: requests::hops;
    expectations: requests::expect;
    pipelines: requests::pipelines;
    early_answers: requests::early;
    framings_of_answers: answers::framings;
    chunks_of_answers: answers::chunks;
    bodies_of_answers: answers::bodies;
    heads_of_answers: answers::heads;
    fields_of_the_origins_hop: answers::hops;
    one_answer_to_one_request: answers::order;
}
