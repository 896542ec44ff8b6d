//! The server on a real socket: oversized bodies, garbage, and stopping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{
    api::{
        serve,
        testing::{Api, RESOURCE, SERVED, TOKEN, located, search, with_handle},
    },
    handle::NodeHandle,
};

struct Server {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(router: axum::Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(listener, router, async move {
        let _ = stopped.await;
    }));
    Server { address, stop, task }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{more}\r\n")
}

async fn reply(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_100_mb_is_refused_and_the_refusal_can_be_read() {
    let server = start(Api::unasked().router()).await;
    for length in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let more = format!("Content-Type: application/fhir+json\r\n{length}\r\n");
        stream.write_all(head("POST", RESOURCE, &more).as_bytes()).await.unwrap();
        let mut chunk = vec![b'x'; 1024 * 1024];
        if length.ends_with("chunked") {
            chunk = [b"100000\r\n", chunk.as_slice(), b"\r\n"].concat();
        }
        // A client of the simple kind: it sends everything before it reads.
        for _ in 0..100 {
            stream.write_all(&chunk).await.unwrap();
        }
        let reply = reply(&mut stream).await;
        assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
        assert!(reply.contains("OperationOutcome"), "{reply}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_no_further_than_the_cap() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let chunks = futures::stream::repeat_with(move || {
        counted.fetch_add(65_536, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![b'x'; 65_536])
    });
    let headers = [("content-type", "application/json")];
    let reply = Api::unasked().send("POST", RESOURCE, &headers, Body::from_stream(chunks)).await;
    reply.refused(413, "too-long");
    assert!(read.load(Ordering::Relaxed) <= 1024 * 1024 + 65_536);
}

#[tokio::test]
async fn garbage_and_half_requests_leave_the_server_running() {
    let server = start(Api::new(|_| located(Vec::new())).router()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\xff\xff"[..],
        b"GET / HTTP/9\r\n\r\n",
        b"POST /fhir/R4/DocumentReference HTTP/1.1\r\nContent-Le",
        &b"A".repeat(200_000),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may hang up before it has read everything.
        let _ = stream.write_all(garbage).await;
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = head("GET", &search(""), "Connection: close\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = reply(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("searchset"), "{reply}");
}

#[tokio::test]
async fn stopping_waits_for_the_request_under_way() {
    let (handle, mut calls) = NodeHandle::channel(&SERVED);
    let server = start(with_handle(handle)).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head("GET", &search(""), "").as_bytes()).await.unwrap();
    let call = calls.recv().await.unwrap();
    server.stop.send(()).unwrap();
    // The idle connection is ended at once; the one with a request is not.
    assert_eq!(reply(&mut idle).await, "");
    assert!(!server.task.is_finished());
    let _ = call.reply.send(located(Vec::new()));
    let reply = reply(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    drop((stream, idle));
    tokio::time::timeout(Duration::from_secs(20), server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
