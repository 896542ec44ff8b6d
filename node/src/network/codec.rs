//! Where frames meet streams: the bounds of one plane, and the tap that sees every frame pass.

use std::{io, sync::Arc};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use signpost_protocol::PublicKey;

use super::{
    frame::{read_frame, write_frame},
    plane::Plane,
};

/// What a frame travelled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// A request or a reply.
    Exchange(Plane),
    /// A published or received statement.
    Gossip,
}

/// Which way a frame went, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A frame on its way, before encryption or after decryption.
#[derive(Clone, Copy)]
pub struct FrameSeen<'a> {
    /// What it travels by.
    pub traffic: Traffic,
    /// Which way it goes.
    pub direction: Direction,
    /// Who handed it to us; known for gossip received. A stream does not tell its codec the peer.
    pub peer: Option<PublicKey>,
    /// The plaintext.
    pub bytes: &'a [u8],
}

/// Sees every plaintext frame that this node writes to a stream, reads whole from one, publishes,
/// or receives as new gossip. For tests and diagnosis; it runs inside the network's tasks, so it
/// must be quick and must not block.
pub type FrameTap = Arc<dyn Fn(FrameSeen<'_>) + Send + Sync>;

/// Reads and writes the frames of one plane.
#[derive(Clone)]
pub(super) struct FrameCodec {
    plane: Plane,
    tap: Option<FrameTap>,
}

impl FrameCodec {
    pub(super) fn new(plane: Plane, tap: Option<FrameTap>) -> Self {
        Self { plane, tap }
    }

    fn seen(&self, direction: Direction, bytes: &[u8]) {
        if let Some(tap) = &self.tap {
            tap(FrameSeen { traffic: Traffic::Exchange(self.plane), direction, peer: None, bytes });
        }
    }

    async fn read<T>(&self, io: &mut T, bytes_max: usize) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, bytes_max).await?;
        self.seen(Direction::In, &frame);
        Ok(frame)
    }

    async fn write<T>(&self, io: &mut T, frame: &[u8], bytes_max: usize) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        // Before the write, which may send some bytes and then fail: what may have left is seen.
        self.seen(Direction::Out, frame);
        Ok(write_frame(io, frame, bytes_max).await?)
    }
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, self.plane.request_bytes_max()).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, self.plane.reply_bytes_max()).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &request, self.plane.request_bytes_max()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &response, self.plane.reply_bytes_max()).await
    }
}
