//! Stage 4. In: exchange events and process events. Out: exchanges with trace, id, parent and the evidence for
//! it. Kept true: no parent without evidence, one parent at most, nothing decided twice.
