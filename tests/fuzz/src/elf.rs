//! Executable files that are right: programs of Go with the functions that are looked for, and libraries of TLS by their symbols.

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Where the file is in memory.
const BASE: u64 = 0x40_0000;
const SHT_STRTAB: u32 = 3;
const SHT_PROGBITS: u32 = 1;

/// A file of these sections, of which the first is at the beginning of the text.
pub fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = b"\0.shstrtab\0".to_vec();
    let mut bytes = vec![0; HEADER + PROGRAM_HEADER];
    let mut headers = vec![(0, 0, [0_u64; 3])];
    for (name, content) in sections {
        let place = [
            BASE + bytes.len() as u64,
            bytes.len() as u64,
            content.len() as u64,
        ];
        headers.push((names.len() as u32, SHT_PROGBITS, place));
        names.extend(name.as_bytes());
        names.push(0);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let place = [0, bytes.len() as u64, names.len() as u64];
    headers.push((1, SHT_STRTAB, place));
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let at = bytes.len();
    for (name, kind, [address, offset, len]) in &headers {
        bytes.extend(name.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for word in [0, *address, *offset, *len, 0, 1, 0] {
            bytes.extend(u64::to_le_bytes(word));
        }
    }
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE, HEADER as u64, at as u64] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, 1, 64, headers.len(), headers.len() - 1] {
        header.extend((half as u16).to_le_bytes());
    }
    // `PT_LOAD`, readable and executable: all of the file.
    header.extend(1_u32.to_le_bytes());
    header.extend(5_u32.to_le_bytes());
    for word in [0, BASE, BASE, bytes.len() as u64, bytes.len() as u64, 8] {
        header.extend(word.to_le_bytes());
    }
    bytes.splice(..header.len(), header);
    bytes
}

/// A program of Go with this build information, behind what stands before it, and this table of functions.
pub fn go(info: &[u8], table: &[u8]) -> Vec<u8> {
    let mut build_info = b"\xff Go buildinf:\x08\x02".to_vec();
    build_info.resize(32, 0);
    build_info.extend(info);
    file(&[
        (".text", &text()),
        (".go.buildinfo", &build_info),
        (".gopclntab", table),
    ])
}

/// A library with these symbols.
pub fn library(symbols: &[u8], names: &[u8]) -> Vec<u8> {
    file(&[(".text", &text()), (".dynsym", symbols), (".dynstr", names)])
}

/// The functions that the agent looks for.
const FUNCTIONS: [&str; 11] = [
    "net/http.(*persistConn).roundTrip",
    "net/http.(*http2serverConn).runHandler",
    "golang.org/x/net/http2.(*serverConn).runHandler",
    "net/http.(*http2ClientConn).roundTrip",
    "golang.org/x/net/http2.(*ClientConn).RoundTrip",
    "google.golang.org/grpc.(*Server).handleStream",
    "google.golang.org/grpc/internal/transport.(*http2Client).NewStream",
    "crypto/tls.(*Conn).Read",
    "crypto/tls.(*Conn).Write",
    "crypto/tls.(*Conn).clientHandshake",
    "crypto/tls.(*Conn).serverHandshake",
];
/// Bytes of each of them.
const FUNCTION: usize = 32;
/// `cmp rsp, [r14+16]`
const PROLOGUE: [u8; 4] = [0x49, 0x3b, 0x66, 0x10];
const NOP: u8 = 0x90;
const RET: u8 = 0xc3;
const RET_AT: usize = 20;

/// Their code, as far as it is looked at.
fn text() -> Vec<u8> {
    let mut function = [NOP; FUNCTION];
    function[..PROLOGUE.len()].copy_from_slice(&PROLOGUE);
    function[RET_AT] = RET;
    function.repeat(FUNCTIONS.len() + 1)
}

/// What each of them uses of the stack: nothing for 4 bytes, 8 for 16, nothing where it returns.
const PIECES: [u8; 7] = [2, 4, 16, 16, 15, 1, 0];

/// Go's table of them.
pub fn table() -> Vec<u8> {
    let mut names = vec![0];
    let mut names_at = Vec::new();
    for name in FUNCTIONS {
        names_at.push(names.len() as u32);
        names.extend(name.as_bytes());
        names.push(0);
    }
    let begin = 8 + 8 * 8;
    let pieces_at = begin + names.len();
    let functions_at = (pieces_at + PIECES.len()).next_multiple_of(8);
    let mut table = 0xffff_fff1_u32.to_le_bytes().to_vec();
    table.extend([0, 0, 1, 8]);
    let numbers = [
        FUNCTIONS.len(),
        1,
        0,
        begin,
        pieces_at,
        pieces_at,
        pieces_at,
        functions_at,
    ];
    for number in numbers {
        table.extend((number as u64).to_le_bytes());
    }
    table.extend(names);
    table.extend(PIECES);
    table.resize(functions_at, 0);
    let behind = FUNCTIONS.len() * 8;
    for place in 0..FUNCTIONS.len() {
        table.extend(((place * FUNCTION) as u32).to_le_bytes());
        table.extend(((behind + place * 20) as u32).to_le_bytes());
    }
    for (place, name) in names_at.iter().enumerate() {
        for word in [(place * FUNCTION) as u32, *name, 0, 0, 0] {
            table.extend(word.to_le_bytes());
        }
    }
    table
}

/// Build information of a program with gRPC, behind what stands before it.
pub fn build_info(go: &str, grpc: &str) -> Vec<u8> {
    let frame = "0123456789abcdef";
    let modules = format!(
        "{frame}path\tshop\nmod\tshop\t(devel)\t\ndep\tgoogle.golang.org/grpc\t{grpc}\th1:a\n\
         dep\tgolang.org/x/net\tv0.40.0\th1:b\n=>\texample.org/net\tv0.41.0\th1:c\n{frame}"
    );
    let mut info = Vec::new();
    for text in [go, &modules] {
        let mut left = text.len();
        while left > 0x7f {
            info.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        info.push(left as u8);
        info.extend(text.as_bytes());
    }
    info
}

/// Symbols of a library of TLS, and their names.
pub fn symbols(names: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let (mut symbols, mut texts) = (vec![0; 24], vec![0]);
    for (place, name) in names.iter().enumerate() {
        symbols.extend((texts.len() as u32).to_le_bytes());
        // `STT_FUNC` of the first section.
        symbols.extend([0x12, 0, 1, 0]);
        let address = BASE + (HEADER + PROGRAM_HEADER + place * FUNCTION) as u64;
        symbols.extend(address.to_le_bytes());
        symbols.extend((FUNCTION as u64).to_le_bytes());
        texts.extend(name.as_bytes());
        texts.push(0);
    }
    (symbols, texts)
}
