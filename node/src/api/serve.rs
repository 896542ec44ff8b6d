//! Serving the router on a socket, with every connection bounded in time and number.
//!
//! hyper rather than `axum::serve`, because a client that never finishes its header must not keep
//! a connection, and one that sends too much must still be able to read why it was refused.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::guard::REQUEST_TIME_MAX;

/// Connections at a time, more than requests so that probes get through, and within the 1,024 files
/// that a process commonly may open; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take for a header, and keep an idle connection.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request line and its headers: a search with a hundred alternatives has 10 KiB.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection lives before it is asked to end: no client can keep a place for ever.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a connection that is asked to end may take to finish its last request.
const ENDING_TIME_MAX: Duration = REQUEST_TIME_MAX.saturating_add(Duration::from_secs(5));
/// How long, and for how many bytes, a client that was refused may go on sending: closing at once
/// would make TCP throw away the refusal (RFC 9112 §9.6). Covers 100 MB on the loopback.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long to wait after a failed accept: the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` is ready; then takes no new connections, and returns when the requests
/// under way are done.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Every connection listens for this; the receivers live as long as they do.
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    // Replies are written whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let ended = {
        let mut served = pin!(std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)));
        tokio::select! {
            ended = &mut served => Some(ended),
            _ = stopping.wait_for(|stop| *stop) => None,
            () = sleep(CONNECTION_TIME_MAX) => None,
        }
    };
    match ended {
        Some(Ok(())) => {
            let stream = connection.into_parts().io.into_inner();
            // Whether the client listens to the end is its own choice.
            let _ = timeout(LINGER_TIME_MAX, linger(stream)).await;
        }
        // Cut off, too slow, or no HTTP: there is nobody to tell.
        Some(Err(_)) => {}
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = timeout(ENDING_TIME_MAX, connection).await;
        }
    }
}

/// Ends our side, then reads what the client still sends, until it ends its side.
async fn linger(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = vec![0; 64 * 1024];
    let mut total = 0;
    while total < LINGER_BYTES_MAX {
        match stream.read(&mut ignored).await? {
            0 => break,
            read => total += read,
        }
    }
    Ok(())
}
