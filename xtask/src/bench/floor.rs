//! The least that probes can cost: empty programs on the hooks of a family. They are two instructions each, which no compiler is asked for.

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, programs::Program};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

use super::agent::program_time_ns;

/// The hooks that a call passes, by family: the kind of a program, and where it goes.
const HOOKS: [(&str, &[(&str, &str)]); 3] = [
    (
        "socket",
        &[
            ("fentry", "tcp_sendmsg"),
            ("fexit", "tcp_sendmsg"),
            ("fentry", "tcp_recvmsg"),
            ("fexit", "tcp_recvmsg"),
        ],
    ),
    (
        "kprobe",
        &[
            ("kprobe", "tcp_sendmsg"),
            ("kretprobe", "tcp_sendmsg"),
            ("kprobe", "tcp_recvmsg"),
            ("kretprobe", "tcp_recvmsg"),
            ("kprobe", "release_sock"),
        ],
    ),
    ("syscall", &[("raw_tp", "sys_enter"), ("raw_tp", "sys_exit")]),
];

/// `r0 = 0`, `exit`.
const EMPTY: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Empty programs, attached for as long as this lives.
pub struct Floor {
    _loaded: Ebpf,
}

impl Floor {
    /// On the hooks of this family.
    pub fn attach(family: &str) -> Result<Self> {
        let (_, hooks) = HOOKS
            .iter()
            .find(|(name, _)| *name == family)
            .with_context(|| format!("no hooks are known of family {family}"))?;
        let mut loaded = Ebpf::load(&object(hooks)?)?;
        for (kind, place) in *hooks {
            let program = loaded
                .program_mut(&name(kind, place))
                .context("no such program")?;
            attach(program, place).with_context(|| format!("an empty program at {kind}/{place}"))?;
        }
        Ok(Self { _loaded: loaded })
    }

    /// See [`program_time_ns`]. This process has no other programs.
    #[expect(clippy::unused_self, reason = "they are there as long as it is")]
    pub fn program_time_ns(&self) -> Result<f64> {
        program_time_ns(std::process::id())
    }
}

fn attach(program: &mut Program, place: &str) -> Result<()> {
    match program {
        Program::RawTracePoint(program) => {
            program.load()?;
            program.attach(place)?;
        }
        Program::KProbe(program) => {
            program.load()?;
            program.attach(place, 0)?;
        }
        Program::FEntry(program) => {
            program.load(place, &Btf::from_sys_fs()?)?;
            program.attach()?;
        }
        Program::FExit(program) => {
            program.load(place, &Btf::from_sys_fs()?)?;
            program.attach()?;
        }
        _ => anyhow::bail!("programs of that kind are not attached here"),
    }
    Ok(())
}

/// What a compiler would have made of them.
fn object(hooks: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    for (kind, place) in hooks {
        let section = object.add_section(
            Vec::new(),
            format!("{kind}/{place}").into_bytes(),
            SectionKind::Text,
        );
        object.append_section_data(section, &EMPTY, 8);
        object.add_symbol(Symbol {
            name: name(kind, place).into_bytes(),
            value: 0,
            size: EMPTY.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    }
    Ok(object.write()?)
}

fn name(kind: &str, place: &str) -> String {
    format!("floor_{kind}_{place}")
}
