//! Acts, their verdicts, and masters that end without one.

use super::*;

#[test]
fn acts_send_their_request_and_print_the_verdict() {
    let cases = [
        ("reload web --drained", r#"{"verb":"reload","service":"web","dry_run":false,"drained":true}"#),
        ("reload --dry-run", r#"{"verb":"reload","service":null,"dry_run":true,"drained":false}"#),
        ("scale web 4", r#"{"verb":"scale","service":"web","workers":4}"#),
        ("drain", r#"{"verb":"drain","service":null}"#),
        ("resume web", r#"{"verb":"resume","service":"web"}"#),
        ("reopen", r#"{"verb":"reopen"}"#),
    ];
    for (words, expected) in cases {
        let fake = Fake::new(&[PROGRESS, PROGRESS, &done("ok", "generation 7 serves")], Then::Close);
        let (ended, request) = fake.run(words);
        assert_eq!(request, expected);
        let err = "starting generation 7: 1 of 2\n".to_owned();
        let out = "generation 7 serves\none\ntwo\n".to_owned();
        assert_eq!(ended, Ended { exit: Exit::Done, out, err }, "{words}");
    }
}

#[test]
fn verdicts_are_exit_statuses_with_the_reason_on_stderr() {
    for (outcome, exit) in
        [("failed", Exit::Failed), ("not_permitted", Exit::NotPermitted), ("bad_request", Exit::Usage)]
    {
        for words in ["reload", "status", "events", "stop", "-s reload"] {
            let (ended, _) = Fake::new(&[&done(outcome, "no such service")], Then::Close).run(words);
            let err = "masterd: no such service\none\ntwo\n".to_owned();
            assert_eq!(ended, Ended { exit, out: String::new(), err }, "{words} {outcome}");
        }
    }
    let statuses = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NoMaster, Exit::NotPermitted];
    assert_eq!(statuses.map(|e| e as i32), [0, 1, 2, 3, 4]);
}

#[test]
fn a_master_that_leaves_without_a_verdict_has_failed() {
    for words in ["reload", "status", "drain", "events", "-s reload"] {
        for replies in [&[][..], &[PROGRESS][..]] {
            let (ended, _) = Fake::new(replies, Then::Close).run(words);
            assert_eq!(ended.exit, Exit::Failed, "{words}");
            assert!(
                ended.err.contains("masterd: the master went away before it answered ("),
                "{words}: {}",
                ended.err
            );
        }
    }
}

#[test]
fn a_stop_is_done_when_the_master_is_gone() {
    let (ended, request) = Fake::new(&[PROGRESS], Then::Leave).run("stop --fast");
    assert_eq!(request, r#"{"verb":"stop","fast":true}"#);
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Done, "stopped\n"));

    let (ended, _) = Fake::new(&[PROGRESS, &done("ok", "stopped")], Then::Leave).run("stop");
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Done, "stopped\none\ntwo\n"));
}

#[test]
fn a_stop_is_not_done_while_the_master_still_listens() {
    let folder = Folder::new();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let master = std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        line(&client);
        listener
    });
    let ended = run(&socket, "stop");
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.starts_with("masterd: the master went away before it answered ("), "{}", ended.err);
    drop(master.join().unwrap());
}

#[test]
fn once_it_has_answered_an_act_may_take_its_time() {
    let folder = Folder::new();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let master = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        line(&client);
        writeln!(client, "{PROGRESS}").unwrap();
        // Longer than the patience for a first word; what is tested is that it ends nothing.
        std::thread::sleep(crate::cli::client::PATIENCE + Duration::from_millis(300));
        writeln!(client, "{}", done("ok", "late")).unwrap();
    });
    let ended = run(&socket, "reload");
    master.join().unwrap();
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Done, "late\none\ntwo\n"));
}
