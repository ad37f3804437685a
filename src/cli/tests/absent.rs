//! No master, told apart: absent, stale, no socket, silent, not one of ours.

use super::*;

#[test]
fn no_master_is_told_apart() {
    let folder = Folder::new();
    let socket = folder.path().join("s");
    let shown = socket.display().to_string();
    for words in ["status", "reload", "stop", "events", "-s quit"] {
        let ended = run(&socket, words);
        assert_eq!(ended.exit, Exit::NoMaster);
        assert!(
            ended.err.starts_with(&format!("masterd: no master: {shown} does not exist; ")),
            "{}",
            ended.err
        );
        assert_eq!(ended.out, "");
    }
    std::fs::write(&socket, "").unwrap();
    let ended = run(&socket, "status");
    assert_eq!(
        (ended.exit, ended.err),
        (Exit::NoMaster, format!("masterd: no master: {shown} is not a socket\n"))
    );

    std::fs::remove_file(&socket).unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    let ended = run(&socket, "status");
    assert_eq!(ended.exit, Exit::NoMaster);
    assert!(ended.err.contains("is stale, nobody listens there"), "{}", ended.err);
}

#[test]
fn a_master_that_stands_still_is_left_after_a_second() {
    let folder = Folder::new();
    let socket = folder.path().join("s");
    // Connections are completed by the kernel, as they are for a stopped process.
    let _listener = UnixListener::bind(&socket).unwrap();
    for words in ["status", "reload", "events", "-s reload"] {
        let begun = Instant::now();
        let ended = run(&socket, words);
        let took = begun.elapsed();
        assert_eq!(ended.exit, Exit::NoMaster, "{words}");
        assert!(ended.err.contains("said nothing for 1 s; it is stopped or hangs"), "{}", ended.err);
        assert!((Duration::from_millis(900)..Duration::from_secs(15)).contains(&took), "{took:?}");
    }
}

#[test]
fn nonsense_from_the_other_end_is_told() {
    let (ended, _) = Fake::new(&["HTTP/1.1 400 Bad Request"], Then::Close).run("status");
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("does not answer like a masterd of this version"), "{}", ended.err);
}
