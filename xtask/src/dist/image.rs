//! The container image, from nothing: an OCI image layout in one archive, which docker, podman, skopeo and containerd read. In
//! it stand the agent, the certificates that public backends are known by and the licences; no shell, no libraries, no users.
//!
//! Kept true: the same parts give the same bytes (names in order, one time, root's, no field of the machine), and every
//! blob is named by its digest (<https://github.com/opencontainers/image-spec>).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::VERSION;
use super::archive::{Archive, compressed};
use super::digest::Digest;
use super::moment::Moment;
use crate::arch::Arch;
use crate::process::root;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Where the agent stands in the image.
const PROGRAM: &str = "usr/bin/tracer-agent";
/// Where programs on Linux look for certificates first.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The archive of an image of this program.
pub fn image(arch: Arch, program: &Path, made_at: Moment) -> Result<Vec<u8>> {
    let layer = layer(program, made_at)?;
    let packed = compressed(&layer)?;
    let created = made_at.rfc3339()?;
    let config = serde_json::to_vec(&config(arch, &layer, &created))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &packed)],
        "annotations": about(&created),
    }))?;
    let index = serde_json::to_vec(&index(arch, &manifest))?;

    let mut blobs = [packed, config, manifest].map(|blob| (Digest::of(&blob).hex(), blob));
    blobs.sort();
    let mut archive = Archive::new(made_at);
    archive.folder("blobs")?;
    archive.folder("blobs/sha256")?;
    for (name, blob) in &blobs {
        archive.file(&format!("blobs/sha256/{name}"), 0o644, blob)?;
    }
    archive.file("index.json", 0o644, &index)?;
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.end()
}

/// The files of the image.
fn layer(program: &Path, made_at: Moment) -> Result<Vec<u8>> {
    let program = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let mut archive = Archive::new(made_at);
    for folder in ["etc", "etc/ssl", "etc/ssl/certs", "usr", "usr/bin"] {
        archive.folder(folder)?;
    }
    archive.file(CERTIFICATES, 0o644, certificates().as_bytes())?;
    archive.file(PROGRAM, 0o755, &program)?;
    for folder in ["usr/share", "usr/share/doc", "usr/share/doc/tracer-agent"] {
        archive.folder(folder)?;
    }
    for name in ["LICENSE-APACHE", "LICENSE-GPL2", "LICENSE-MIT"] {
        let text = fs::read(root().join(name)).with_context(|| format!("reading {name}"))?;
        archive.file(&format!("usr/share/doc/tracer-agent/{name}"), 0o644, &text)?;
    }
    archive.end()
}

/// Mozilla's list, as programs on Linux read it.
fn certificates() -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    const LINE: usize = 64;
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(LINE) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn config(arch: Arch, layer: &[u8], created: &str) -> Value {
    json!({
        "created": created,
        "architecture": arch.name(),
        "os": "linux",
        "config": {
            // Capabilities are given to root alone; which are needed stands in docs/kernels.md.
            "User": "0:0",
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": [format!("/{PROGRAM}")],
            "Cmd": ["check"],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": about(created),
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).named()]},
        "history": [{"created": created, "created_by": "cargo xtask image"}],
    })
}

/// What anyone who finds the image can read of it.
fn about(created: &str) -> Value {
    json!({
        "org.opencontainers.image.title": "tracer-agent",
        "org.opencontainers.image.description": "Distributed traces of unmodified programs, read from the kernel",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only)",
    })
}

fn index(arch: Arch, manifest: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": Digest::of(manifest).named(),
            "size": manifest.len(),
            "platform": {"architecture": arch.name(), "os": "linux"},
            "annotations": {
                "org.opencontainers.image.ref.name": VERSION,
                // The name by which docker and containerd know what they load: what `image: tracer-agent:VERSION`
                // stands for.
                "io.containerd.image.name": format!("docker.io/library/tracer-agent:{VERSION}"),
            },
        }],
    })
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(blob).named(), "size": blob.len()})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|mut entry| {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes)
            })
            .collect()
    }

    fn made() -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        image(Arch::Amd64, &folder.join("Cargo.toml"), Moment(0)).unwrap()
    }

    #[test]
    fn the_same_parts_give_the_same_bytes() {
        assert_eq!(made(), made());
    }

    /// Follows the descriptors from the index to the layer, as a runtime does.
    #[test]
    fn every_blob_is_reached_by_its_digest_and_has_the_size_that_is_told() {
        let files = files(&made());
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())];
            assert_eq!(Digest::of(bytes).named(), digest);
            assert_eq!(descriptor["size"], bytes.len());
            bytes.clone()
        };
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let index = read(&files["index.json"]);
        let manifest = read(&blob(&index["manifests"][0]));
        let config = read(&blob(&manifest["config"]));
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(blob(&manifest["layers"][0]).as_slice())
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&layer).named());
        let entry = config["config"]["Entrypoint"][0].as_str().unwrap();
        let inside = self::files(&layer);
        assert!(inside.contains_key(entry.strip_prefix('/').unwrap()), "{entry}");
        // Folders stand before what is in them: not every runtime makes them by itself.
        for path in inside.keys().filter(|path| !path.ends_with('/')) {
            let parent = Path::new(path).parent().unwrap().display().to_string();
            assert!(inside.contains_key(&format!("{parent}/")), "{path}");
        }
    }

    #[test]
    fn certificates_are_written_in_lines_that_every_reader_takes() {
        let text = certificates();
        assert!(text.matches("BEGIN CERTIFICATE").count() > 100);
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
