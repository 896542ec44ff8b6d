//! One frame on a stream: its length as a big-endian `u32`, its bytes, then the end of the stream.
//!
//! The reader trusts nothing: the length is checked against the caller's cap before anything is
//! allocated, and memory grows as bytes arrive, never by what a length claims. How long a peer may
//! take is the caller's timeout.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;

/// Why no frame could be read from a stream, or written to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The peer ended the stream in good order without a byte: a refusal.
    #[error("the stream ended without a frame")]
    Unanswered,
    /// The stream ended inside a frame.
    #[error("the stream ended after {received} of {expected} bytes")]
    Truncated { expected: usize, received: usize },
    /// The frame is longer than its plane allows.
    #[error("a frame of {length} bytes exceeds the {bytes_max} bytes allowed")]
    TooLong { length: usize, bytes_max: usize },
    /// Something followed the frame.
    #[error("stray bytes follow the frame")]
    StrayBytes,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        let kind = match &error {
            FrameError::Unanswered | FrameError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            FrameError::TooLong { .. } | FrameError::StrayBytes => io::ErrorKind::InvalidData,
            FrameError::Io(_) => io::ErrorKind::Other,
        };
        match error {
            FrameError::Io(error) => error,
            error => Self::new(kind, error),
        }
    }
}

/// Reads the only frame of a stream, of at most `bytes_max` bytes, and the stream's end.
///
/// Not cancel safe: bytes read so far are lost.
///
/// # Errors
/// See [`FrameError`]; the stream is of no further use then.
pub(super) async fn read_frame<R>(io: &mut R, bytes_max: usize) -> Result<Vec<u8>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut prefix = Vec::with_capacity(LENGTH_BYTES);
    (&mut *io).take(LENGTH_BYTES as u64).read_to_end(&mut prefix).await?;
    let Ok(length) = <[u8; LENGTH_BYTES]>::try_from(prefix.as_slice()) else {
        return Err(match prefix.len() {
            0 => FrameError::Unanswered,
            received => FrameError::Truncated { expected: LENGTH_BYTES, received },
        });
    };
    let claimed = u32::from_be_bytes(length);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(FrameError::TooLong { length, bytes_max });
    }
    let mut frame = Vec::new();
    (&mut *io).take(u64::from(claimed)).read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(FrameError::Truncated { expected: length, received: frame.len() });
    }
    // The sender closes its side together with its last bytes, so this waits for no round trip.
    match io.read(&mut [0]).await? {
        0 => Ok(frame),
        _ => Err(FrameError::StrayBytes),
    }
}

/// Writes `frame` and flushes; the caller closes the stream.
///
/// # Errors
/// When the frame is longer than `bytes_max` (nothing is written then), or the stream fails.
pub(super) async fn write_frame<W>(
    io: &mut W,
    frame: &[u8],
    bytes_max: usize,
) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
{
    let too_long = FrameError::TooLong { length: frame.len(), bytes_max };
    let length = match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= bytes_max => length,
        _ => return Err(too_long),
    };
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(frame).await?;
    io.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, FrameError> {
        block_on(read_frame(&mut Cursor::new(bytes), bytes_max))
    }

    fn written(frame: &[u8], bytes_max: usize) -> Result<Vec<u8>, FrameError> {
        let mut stream = Cursor::new(Vec::new());
        block_on(write_frame(&mut stream, frame, bytes_max))?;
        Ok(stream.into_inner())
    }

    #[test]
    fn a_frame_is_its_length_and_its_bytes() {
        let stream = written(b"abc", 3).expect("short enough");
        assert_eq!(stream, [0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(read(&stream, 3).expect("whole"), b"abc");
        assert_eq!(read(&[0; 4], 0).expect("an empty frame is a frame"), b"");
    }

    #[test]
    fn a_frame_above_the_cap_is_neither_read_nor_written() {
        let error = read(&[0xff, 0xff, 0xff, 0xff, 1], 4096).expect_err("4 GiB");
        assert_eq!(error.to_string(), "a frame of 4294967295 bytes exceeds the 4096 bytes allowed");
        assert!(matches!(
            written(b"abcd", 3),
            Err(FrameError::TooLong { length: 4, bytes_max: 3 })
        ));
        assert!(matches!(read(&[0, 0, 0, 4, 1, 2, 3, 4], 3), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_stream_that_ends_early_or_late_is_refused() {
        assert!(matches!(read(&[], 9), Err(FrameError::Unanswered)));
        assert!(matches!(
            read(&[0, 0], 9),
            Err(FrameError::Truncated { expected: 4, received: 2 })
        ));
        let error = read(&[0, 0, 0, 3, 1], 9).expect_err("truncated");
        assert_eq!(error.to_string(), "the stream ended after 1 of 3 bytes");
        assert!(matches!(read(&[0, 0, 0, 1, 1, 2], 9), Err(FrameError::StrayBytes)));
    }

    #[test]
    fn the_error_keeps_its_shape_inside_an_io_error() {
        let error = io::Error::from(FrameError::StrayBytes);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<FrameError>());
        assert!(matches!(inner, Some(FrameError::StrayBytes)));
        assert_eq!(error.to_string(), "stray bytes follow the frame");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_is_what_was_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            prefixed in any::<bool>(),
            bytes_max in 0_usize..64,
        ) {
            // Random bytes seldom start with a small length: half of the cases are given one.
            let stream = if prefixed { [&[0, 0, 0][..], &bytes].concat() } else { bytes };
            if let Ok(frame) = read(&stream, bytes_max) {
                prop_assert!(frame.len() <= bytes_max);
                prop_assert_eq!(written(&frame, bytes_max).expect("within the cap"), stream);
            }
        }

        #[test]
        fn every_frame_within_the_cap_survives(frame in proptest::collection::vec(any::<u8>(), 0..512)) {
            let stream = written(&frame, 512).expect("within the cap");
            prop_assert_eq!(read(&stream, 512).expect("whole"), frame);
        }
    }
}
