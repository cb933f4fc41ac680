//! Batches as they are out, and a message in.

use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::batch::Batch;

/// The codec of a method that is called with batches and answers with an `R`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCodec<R>(PhantomData<R>);

impl<R: Message + Default + 'static> Codec for BatchCodec<R> {
    type Encode = Batch;
    type Decode = R;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        BatchCodec(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        BatchCodec(PhantomData)
    }
}

impl<R> Encoder for BatchCodec<R> {
    type Item = Batch;
    type Error = Status;

    fn encode(&mut self, batch: Batch, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(batch.encoded_len());
        out.put_slice(batch.message());
        Ok(())
    }
}

impl<R: Message + Default> Decoder for BatchCodec<R> {
    type Item = R;
    type Error = Status;

    /// An answer that cannot be read is an answer all the same: who sends it has the spans, and wants them only once.
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let answer = R::decode(message.copy_to_bytes(message.remaining())).unwrap_or_default();
        Ok(Some(answer))
    }
}
