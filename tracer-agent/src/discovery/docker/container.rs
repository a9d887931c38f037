//! A container as the runtime describes it, and of that what identity takes.

use serde::Deserialize;

use super::super::{image::Image, text};

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Described {
    /// 64 hexadecimal digits.
    pub id: String,
    /// As `docker ps` shows it.
    pub name: Option<String>,
    /// `container.runtime.name`
    pub runtime: &'static str,
    pub image: Option<Image>,
    /// The service of a Compose project.
    pub service: Option<String>,
    /// The Compose project.
    pub project: Option<String>,
    /// The pod that it is part of, as its runtime was told.
    pub pod: Option<OfPod>,
}

/// What a runtime knows of the pod of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct OfPod {
    /// Its name.
    pub name: String,
    pub namespace: Option<String>,
    /// What the pod calls the container.
    pub container: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(rename = "com.docker.compose.service")]
    service: Option<String>,
    #[serde(rename = "com.docker.compose.project")]
    project: Option<String>,
}

impl Described {
    /// Reads an element of `/containers/json`.
    ///
    /// # Errors
    /// When it is no container.
    pub fn parse(json: &[u8], runtime: &'static str) -> Result<Self, serde_json::Error> {
        let object: Object = serde_json::from_slice(json)?;
        let labels = object.labels;
        let label = |of: fn(&Labels) -> &Option<String>| {
            let value = labels.as_ref().and_then(|labels| of(labels).as_deref());
            value.and_then(text::non_empty)
        };
        // Docker begins names with a slash; `/other/alias` is another's word for it.
        let names = object.names.unwrap_or_default();
        let name = names
            .iter()
            .map(|name| name.strip_prefix('/').unwrap_or(name))
            .find(|name| !name.contains('/'));
        Ok(Self {
            id: text::non_empty(&object.id)
                .ok_or_else(|| serde::de::Error::custom("a container without an id"))?,
            name: name.and_then(text::non_empty),
            runtime,
            // An image without a name is given by its digest alone.
            image: object.image.as_deref().and_then(Image::parse),
            service: label(|labels| &labels.service),
            project: label(|labels| &labels.project),
            // A kubelet has its containers run by others for long.
            pod: None,
        })
    }
}
