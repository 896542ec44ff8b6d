//! One real node: it survives bad input, starts only where it can, and stops when told.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "what is said to an admin belongs to the result")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
};

use signpost_tests::{
    client::{patient, record},
    processes::{Federation, PATIENCE, Process, signal, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const URL: &str = "https://records.example/1";

#[test]
fn a_node_survives_bad_input_and_stops_when_told() {
    let mut federation = Federation::running(PROGRAM, 1);
    let id = federation.client(0).created(&record(&federation.node(0).ods, &patient(1), URL));
    bad_requests_are_refused(&federation);
    a_body_of_100_mb_is_refused(&federation, "Content-Length: 104857600");
    a_body_of_100_mb_is_refused(&federation, "Transfer-Encoding: chunked");
    garbage_is_dropped(&federation);
    assert!(federation.node_mut(0).process().ended().is_none(), "it lives on");
    let reply = federation.client(0).search(&patient(1));
    reply.assert_complete();
    assert_eq!(reply.ids(), [id.clone()].into());

    a_second_node_in_the_same_directory_is_refused(&federation);
    assert_eq!(federation.client(0).search(&patient(1)).ids(), [id.clone()].into());
    it_stops_gracefully(&mut federation);
    a_taken_port_is_named(&federation);

    federation.start(0);
    federation.await_ready(0);
    assert_eq!(federation.client(0).search(&patient(1)).ids(), [id.clone()].into());
}

fn bad_requests_are_refused(federation: &Federation) {
    let client = federation.client(0);
    let wrong = client.with_token("0123456789abcdef");
    wrong.search(&patient(1)).assert_refused(401);
    wrong.create(&record(&federation.node(0).ods, &patient(2), URL)).assert_refused(401);
    client.with_token("").search(&patient(1)).assert_refused(401);

    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    let path = "/fhir/R4/DocumentReference";
    let json = [("Content-Type", "application/fhir+json")];
    for body in
        ["{", "\u{0}\u{1}", "null", "\"\u{fffd}\"", "{\"resourceType\":\"Patient\"}", &nested]
    {
        let reply = client.send("POST", path, &json, body.as_bytes()).expect("a reply");
        reply.assert_refused(400);
    }
    let reply = client.send("POST", path, &json, &[0xff; 1000]).expect("a reply");
    reply.assert_refused(400);
    let mut wrong = record(&federation.node(0).ods, &patient(2), URL);
    wrong["subject"]["identifier"]["value"] = "9990000019".into();
    client.create(&wrong).assert_refused(422);
    client.create(&record("RZ99", &patient(2), URL)).assert_refused(403);
    let telling = format!("https://records.example/{}", patient(2).expose_digits());
    client.create(&record(&federation.node(0).ods, &patient(2), &telling)).assert_refused(422);
}

fn a_body_of_100_mb_is_refused(federation: &Federation, length: &str) {
    let node = federation.node(0);
    let token = std::fs::read_to_string(node.token_file()).expect("a token");
    let mut stream = connect(node.api_port);
    let head = format!(
        "POST /fhir/R4/DocumentReference HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/fhir+json\r\n{length}\r\n\r\n",
        token.trim()
    );
    stream.write_all(head.as_bytes()).expect("the head is taken");
    let mut chunk = vec![b'x'; 1024 * 1024];
    if length.ends_with("chunked") {
        chunk = [b"100000\r\n", chunk.as_slice(), b"\r\n"].concat();
    }
    // The node may hang up before it has seen everything, once it has said why.
    let mut sender = stream.try_clone().expect("a second handle of the socket");
    let sending = std::thread::spawn(move || {
        let _ = (0..100).try_for_each(|_| sender.write_all(&chunk));
    });
    let mut reply = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&reply).contains("OperationOutcome") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => reply.extend_from_slice(&piece[..length]),
        }
    }
    let reply = String::from_utf8_lossy(&reply);
    assert!(reply.starts_with("HTTP/1.1 413") && reply.contains("OperationOutcome"), "{reply}");
    let _ = stream.shutdown(Shutdown::Both);
    sending.join().expect("the sender does not panic");
}

fn garbage_is_dropped(federation: &Federation) {
    let node = federation.node(0);
    let noise: Vec<u8> =
        (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for port in [node.api_port, node.peer_port] {
        for garbage in
            [&noise[..], b"GET / HTTP/1.1\r\n", b"\x13/multistream/1.0.0\n", b"", &[0; 10_000]]
        {
            let mut stream = connect(port);
            let _ = stream.write_all(garbage);
            let _ = stream.shutdown(Shutdown::Write);
            // Wait until it is hung up on, so that the node has seen it; half a request to the API
            // is ended by the end of input, too.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Runs the first node once more, which must fail, and returns what it said.
fn refused_start(federation: &Federation) -> String {
    let log = federation.node(0).dir.with_extension("refused");
    // Each attempt is told apart from the one before.
    let _ = std::fs::remove_file(&log);
    let status = Process::start(&mut federation.command(0), &log).end();
    let said = std::fs::read_to_string(log).expect("it said why");
    assert_eq!(status.code(), Some(1), "{said}");
    println!("refused to start: {}", said.trim());
    said
}

fn a_second_node_in_the_same_directory_is_refused(federation: &Federation) {
    let said = refused_start(federation);
    assert!(said.contains("error: ") && said.contains("in use by another process"), "{said}");
}

fn it_stops_gracefully(federation: &mut Federation) {
    let process = federation.node_mut(0).process();
    signal(process.id(), "TERM");
    let status = process.end();
    assert_eq!(status.code(), Some(0));
    let log = federation.node(0).log();
    let (stopping, stopped) = (log.find("reason=\"SIGTERM\""), log.rfind("stopped"));
    assert!(stopping.is_some() && stopping < stopped, "{log}");
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

fn a_taken_port_is_named(federation: &Federation) {
    let node = federation.node(0);
    for port in [node.api_port, node.peer_port] {
        let (taken, _) =
            until("the port is free", || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let said = refused_start(federation);
        assert!(said.contains("error: ") && said.contains(&port.to_string()), "{said}");
        assert!(said.contains("hint: "), "{said}");
        drop(taken);
    }
}
