//! `status` and `events` as they are printed.

use super::*;

#[test]
fn status_is_a_table_or_the_document_itself() {
    let document = document(r#","more":1"#).replacen(r#""pid":"#, r#""newer":[1],"pid":"#, 1);
    let (ended, request) =
        Fake::new(&[&document, &done("ok", "")], Then::Close).run("status web --connections");
    assert_eq!(request, r#"{"verb":"status","service":"web","connections":true,"watch":false}"#);
    assert_eq!((ended.exit, ended.err.as_str()), (Exit::Done, ""));
    assert!(
        ended.out.starts_with("running: generation 7, pid 4242, up ") && !ended.out.contains('\x1b'),
        "{}",
        ended.out
    );

    let (ended, _) = Fake::new(&[&document], Then::Close).run("status --json");
    assert_eq!(ended.exit, Exit::Done, "a document without a goodbye is a document");
    assert!(
        ended.out.starts_with(r#"{"version":"0.1.0","version_since":"","binary":"","newer":[1],"pid":4242,"#),
        "{}",
        ended.out
    );
    assert!(ended.out.ends_with("]}\n") && !ended.out.contains("more"), "{}", ended.out);
}

#[test]
fn watching_goes_on_until_the_master_leaves() {
    let document = document("");
    let (ended, request) = Fake::new(&[&document, &document], Then::Close).run("status --watch");
    assert!(request.contains(r#""watch":true"#));
    assert_eq!((ended.exit, ended.err.as_str()), (Exit::Failed, "masterd: the master went away\n"));
    assert_eq!(ended.out.matches("running: generation 7").count(), 2);
    assert!(ended.out.contains("1 death\n\nrunning:"), "blocks are set apart: {}", ended.out);
}

#[test]
fn a_watched_terminal_is_redrawn() {
    let document = document("");
    let fake = Fake::new(&[&document, &done("ok", "bye")], Then::Close);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, live: true, bar: false, colour: true };
    dispatch(&invocation(&fake.socket(), "status --watch"), &mut console).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("\x1b[H\x1b[32mrunning: ") && out.ends_with("\x1b[K\n\x1b[J"), "{out:?}");
}

#[test]
fn events_are_printed_as_they_came() {
    let event = r#"{"at":"2026-11-21T10:00:00Z","level":"info","event":"ready","text":"x","newer":true}"#;
    let reply = format!(r#"{{"reply":"event","event":{event}}}"#);
    let (ended, request) = Fake::new(&[&reply, &reply, &done("ok", "bye")], Then::Close).run("events");
    assert_eq!(request, r#"{"verb":"events"}"#);
    assert_eq!(ended, Ended { exit: Exit::Done, out: format!("{event}\n{event}\n"), err: String::new() });
}

#[test]
fn events_end_quietly_when_the_reader_leaves() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let reply = r#"{"reply":"event","event":{"at":"","level":"info","event":"ready","text":"x"}}"#;
    let fake = Fake::new(&[reply], Then::Wait);
    let mut err = Vec::new();
    let mut console = Console { out: &mut Closed, err: &mut err, live: false, bar: false, colour: false };
    let ended = dispatch(&invocation(&fake.socket(), "events"), &mut console);
    assert_eq!(report(ended, &mut console), Exit::Done);
    assert_eq!(err, b"");
}
