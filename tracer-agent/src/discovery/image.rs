//! The reference of an image, taken apart: `registry:5000/name:tag@sha256:digest`
//! (<https://github.com/distribution/reference/blob/main/reference.go>).

use super::text;

/// A reference by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `container.image.name`
    pub name: String,
    /// An element of `container.image.tags`.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl Image {
    /// The parts of a reference; `None` of one that has no name (`sha256:…`).
    pub(super) fn parse(reference: &str) -> Option<Self> {
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) => (named, text::non_empty(digest)),
            None => (reference, None),
        };
        // A colon before the last slash is that of a port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, text::non_empty(tag)),
            _ => (named, None),
        };
        let is_digest = matches!(name, "sha256" | "sha512") && digest.is_none();
        Some(Self {
            name: text::non_empty(name).filter(|_| !is_digest)?,
            tag,
            digest,
        })
    }

    /// `service.version`, where nothing else tells it: the tag, the digest, or both.
    pub(super) fn version(&self) -> Option<String> {
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (tag, digest) => digest.clone().or_else(|| tag.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_reference_is_name_tag_and_digest() {
        for (reference, name, tag, digest, version) in [
            ("nginx", "nginx", None, None, None),
            ("nginx:1.27", "nginx", Some("1.27"), None, Some("1.27")),
            ("host:5000/a/b", "host:5000/a/b", None, None, None),
            ("host:5000/a/b:v1", "host:5000/a/b", Some("v1"), None, Some("v1")),
            (
                "a/b:v1@sha256:ff",
                "a/b",
                Some("v1"),
                Some("sha256:ff"),
                Some("v1@sha256:ff"),
            ),
            ("a/b@sha256:ff", "a/b", None, Some("sha256:ff"), Some("sha256:ff")),
        ] {
            let found = Image::parse(reference).unwrap();
            assert_eq!(
                (found.name.as_str(), found.tag.as_deref(), found.digest.as_deref()),
                (name, tag, digest),
                "{reference}"
            );
            assert_eq!(found.version().as_deref(), version, "{reference}");
        }
        for none in ["", ":v1", "@sha256:ff", "sha256:0123"] {
            assert_eq!(Image::parse(none), None, "{none}");
        }
    }
}
