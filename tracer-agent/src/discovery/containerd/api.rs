//! What is spoken with containerd: three of its methods, and of its messages the fields that name a container, by the numbers
//! that its own files give them.
//!
//! <https://github.com/containerd/containerd/blob/v2.0.0/api/services/containers/v1/containers.proto>,
//! <https://github.com/containerd/containerd/blob/v2.0.0/api/services/events/v1/events.proto>,
//! <https://github.com/containerd/containerd/blob/v2.0.0/api/types/event.proto>,
//! <https://github.com/containerd/containerd/blob/v2.0.0/api/events/container.proto>.

use std::{collections::HashMap, marker::PhantomData};

use bytes::Buf as _;
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The metadata that says which namespace a request is about
/// (<https://github.com/containerd/containerd/blob/v2.0.0/pkg/namespaces/grpc.go>).
pub(super) const NAMESPACE: &str = "containerd-namespace";
/// One container by its id.
pub(super) const GET: &str = "/containerd.services.containers.v1.Containers/Get";
/// All containers of a namespace, a message each.
pub(super) const LIST: &str = "/containerd.services.containers.v1.Containers/ListStream";
/// What happens from now on, in all namespaces.
pub(super) const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";

/// `containerd.services.containers.v1.Container`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: HashMap<String, String>,
    /// The reference of its image.
    #[prost(string, tag = "3")]
    pub(super) image: String,
}

/// `GetContainerRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// `GetContainerResponse`, and `ListContainerMessage`, which has the same field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneContainer {
    #[prost(message, optional, tag = "1")]
    pub(super) container: Option<Container>,
}

/// `ListContainersRequest`, and `SubscribeRequest`, which has the same field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Filtered {
    /// What fits any of these; everything where there is none.
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

/// `containerd.types.Envelope`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, tag = "3")]
    pub(super) topic: String,
    #[prost(message, optional, tag = "4")]
    pub(super) event: Option<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `containerd.events.ContainerCreate`, `…Update` and `…Delete`, of which the id has the same number.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OfContainer {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// Messages of protobuf: one kind is written, one is read.
pub(super) struct Messages<Written, Read>(PhantomData<(Written, Read)>);

impl<Written, Read> Default for Messages<Written, Read> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Written, Read> Codec for Messages<Written, Read>
where
    Written: Message + Send + 'static,
    Read: Message + Default + Send + 'static,
{
    type Encode = Written;
    type Decode = Read;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<Written: Message, Read> Encoder for Messages<Written, Read> {
    type Item = Written;
    type Error = Status;

    fn encode(&mut self, item: Written, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl<Written, Read: Message + Default> Decoder for Messages<Written, Read> {
    type Item = Read;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Read>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let message = Read::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(message))
    }
}
