//! What a header block can be that has no meaning.

/// Why a header block was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within a field.
    #[error("the header block ends within a field")]
    Cut,
    /// RFC 7541 §2.3.3: an index that is 0 or beyond both tables.
    #[error("no table has an entry of this index")]
    Index,
    /// RFC 7541 §5.1: an integer that is longer or larger than 32 bits need.
    #[error("an integer is larger than 32 bits")]
    Integer,
    /// RFC 7541 §5.2: a code that is not whole, padding that is too long or not of ones, or EOS.
    #[error("a string is not Huffman code")]
    Huffman,
    /// RFC 7541 §4.2: the size of the table changes after the first field.
    #[error("the size of the table changes between fields")]
    SizeUpdate,
    /// The fields are larger than a block may be here.
    #[error("the fields are larger than is read of a header block")]
    TooLarge,
}
